"""A folder in which a snakemake works, or was killed: what may still be asked there, and how it is freed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_music import make_codec
from small_project import Project, make_project
from thousand_tracks import Thousand, make_clip

from musicgen_core.util.process import describe_process

pytestmark = pytest.mark.slow


def musicgen(project: Project, *words: str) -> str:
    (project.folder / "config.yaml").write_text(yaml.safe_dump(project.config))
    command = [sys.executable, "-m", "musicgen_core.cli", *words]
    return subprocess.run(
        command, cwd=project.folder, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
    ).stdout


def lock(project: Project) -> Path:
    path = project.folder / ".snakemake/locks/0.output.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("results/audio/mine/00000-of-00003.tar\n")
    return path


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory, codec: Path) -> Project:
    """A project whose run was trained, whose music changed since, and whose policy is to refuse."""
    small = make_project(tmp_path_factory.mktemp("refusing") / "project", codec)
    project = Thousand(small.folder, small.config)
    project.config["runs"] = {"base": {}}
    project.finish()
    project.config["on_changed_data"] = "refuse"
    project.config["data"] = {"min_duration_sec": 0.1}
    make_clip(project.music / "new.wav", np.random.default_rng(1))
    assert "on_changed_data is refuse" in project.snakemake("--dry-run").error_line
    return project


@pytest.mark.parametrize("command", ["verify", "gc"])
def test_what_trains_nothing_works_where_training_is_refused(refusing: Project, command: str) -> None:
    said = musicgen(refusing, command)
    assert f"musicgen {command}: error" not in said
    assert said.splitlines()[-1].startswith(f"{command}: ")
    assert "on_changed_data is refuse: it is not trained" in said, "it is said, too"


def test_unlock_works_whatever_the_config_says(refusing: Project) -> None:
    for change in ({}, {"codec": {"kind": "tiny", "path": "nowhere"}}, {"trainin": 3}):
        path, config = lock(refusing), refusing.config
        refusing.config = {**config, **change}
        try:
            outcome = refusing.snakemake("--profile", "slurm", "--unlock")  # though there is no SLURM here
        finally:
            refusing.config = config
        assert (outcome.returncode, outcome.error_line) == (0, "unlocked"), change
        assert not path.exists()


def test_unlock_says_who_works_here_still(project: Project) -> None:
    project.dry_run("tokens")
    lock(project)
    notes = project.folder / ".snakemake/musicgen"
    notes.mkdir(parents=True)
    note = {**describe_process(), "host": "login1", "pid": 5, "locks": ["0.output.lock"]}
    (notes / "login1-5.json").write_text(json.dumps(note))
    refused = project.snakemake("--profile", "local", "tokens")
    assert "Error: another snakemake works in this folder (process 5 on login1 since " in refused.text
    assert "if it is gone from login1: `snakemake --unlock`, then the same command" in refused.text
    assert "unlocked; WARNING: process 5 on login1 since " in project.snakemake("--unlock").error_line


def test_a_snakemake_that_ended_leaves_no_note(project: Project) -> None:
    bucket = sorted(name for name in project.dry_run("tokens").buckets("resample"))[0]
    seen = project.folder / "seen"
    rules = project.folder / "workflow/rules/audio.smk"
    rules.write_text(
        rules.read_text().replace('"musicgen resample', f'"ls .snakemake/musicgen >{seen}; musicgen resample')
    )
    project.run(f"results/audio/mine/{bucket}.tar")
    assert seen.read_text().endswith(".json\n"), "it was there while it worked"
    assert list((project.folder / ".snakemake/musicgen").iterdir()) == []
    rules.write_text(rules.read_text().replace("; musicgen resample", "; false && musicgen resample"))
    assert project.snakemake("--profile", "local", "--forceall", f"results/audio/mine/{bucket}.tar").returncode == 1
    assert list((project.folder / ".snakemake/musicgen").iterdir()) == []


def test_while_it_is_locked_the_plan_answers_for_its_own_codec_alone(project: Project) -> None:
    project.dry_run("tokens")
    before = read_plan(project)
    path = lock(project)
    assert project.dry_run("tokens").counts == {"resample": 3, "manifest": 1, "tokenize": 3, "index": 1}
    make_codec(project.folder / "codec2", seed=1)
    project.config["codec"]["path"] = "codec2"
    line = project.snakemake("--dry-run", "tokens").error_line
    assert line.startswith(
        "Error: the codec is not that of that plan, tiny, and another snakemake works in this folder"
    )
    assert line.endswith("`snakemake --unlock`, then the same command")
    path.unlink()
    assert project.dry_run("tokens").counts["tokenize"] == 3
    assert read_plan(project) != before


def test_while_it_is_locked_nothing_is_written(project: Project) -> None:
    project.dry_run()
    before = read_plan(project)
    lock(project)
    (project.folder / "w").mkdir()
    (project.folder / "w/model.safetensors").write_bytes(b"a" * 1000)
    project.config["training"]["init_from"] = {"path": "w"}
    assert "\nError: another snakemake works in this folder, or was killed" in project.snakemake("--dry-run").text
    assert read_plan(project) == before
    shutil.rmtree(project.folder / ".snakemake/locks")
    project.dry_run()
    assert "sources.json" in {Path(name).name for name in read_plan(project)}


def read_plan(project: Project) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (project.folder / "results/plan").rglob("*") if path.is_file()}
