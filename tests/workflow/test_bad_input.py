"""Mistakes end in one line, before anything runs."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from small_music import make_noise
from small_project import ROOT, Project

from musicgen_core.stages import STAGES
from musicgen_core.util.atomic import read_jsonl


def empty(project: Project) -> None:
    for path in project.music.iterdir():
        path.unlink()


def one_track(project: Project) -> None:
    for path in project.music.glob("piece 0[1-9].wav"):
        path.unlink()


MISTAKES: list[tuple[str, Callable[[Project], object], str]] = [
    ("typo", lambda p: p.config["corpora"]["mine"].update(num_bucket=2), "unknown key `num_bucket`.*`num_buckets`"),
    ("no folder", lambda p: p.config["corpora"]["mine"].update(path="musik"), "'musik' is not a folder"),
    ("empty folder", empty, "no usable audio: the folder holds no audio file"),
    ("no captions", lambda p: p.config["corpora"]["mine"].update(captions="json"), "0 of 9 track.s. have a caption"),
    ("one track", one_track, "1 usable track.s. in 1 group.s.*at least 3"),
    ("other codebooks", lambda p: p.config.update(model={"num_codebooks": 9}), "model.num_codebooks is 9, but codec"),
    (
        "no encoder",
        lambda p: p.config.update(conditioner={"kind": "t5", "path": "t5"}),
        "conditioner.path: no folder t5",
    ),
    ("no codec", lambda p: p.config["codec"].update(path="nowhere"), "nowhere/config.json: absent"),
    (
        "results is a file",
        lambda p: p.config.update(results="codec/config.json"),
        "codec/config.json/plan/mine/.*: Not a directory",
    ),
]


@pytest.mark.parametrize(("mistake", "message"), [pytest.param(m, t, id=i) for i, m, t in MISTAKES])
def test_a_mistake_is_one_line(project: Project, mistake: Callable[[Project], object], message: str) -> None:
    mistake(project)
    outcome = project.snakemake("--profile", "local", "tokens")
    assert outcome.returncode == 1
    assert outcome.error_line.startswith("Error: ")
    assert re.search(message, outcome.error_line), outcome.error_line


def test_slurm_where_there_is_none_is_one_line(project: Project, tmp_path: Path) -> None:
    for name in ("sbatch", "sinfo"):
        (tmp_path / name).write_text("#!/bin/sh\necho cannot reach the controller >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    outcome = project.snakemake("--profile", "slurm", "train", env=env)
    assert outcome.returncode == 1
    assert outcome.error_line.startswith("Error: no SLURM here: cannot reach the controller; ")
    outcome = project.snakemake("--profile", "slurm", "train", "--dry-run", env=env)
    assert outcome.returncode == 0, outcome.text
    assert outcome.counts["train_run"] == 2


def test_a_track_that_fails_to_decode_is_recorded_and_the_rest_goes_on(project: Project) -> None:
    path = make_noise(project.music / "cut.flac", duration_sec=4.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = project.run("results/manifest/mine/train.jsonl")
    assert "rejected cut.flac: corrupt" in done.text
    (line,) = read_jsonl(project.folder / "results/manifest/mine/rejected.jsonl")
    assert (line["path"], line["reason"]) == ("cut.flac", "corrupt")


def test_after_a_failure_the_last_words_of_the_job_are_repeated(project: Project) -> None:
    project.run("tokens")
    (shard,) = list((project.folder / "results/audio/mine").glob("*.tar"))[:1]
    shard.write_bytes(shard.read_bytes()[:700])
    outcome = project.snakemake("--profile", "local", "tokens", "--forcerun", "tokenize")
    assert outcome.returncode == 1
    (line,) = [line for line in outcome.text.splitlines() if line.startswith("failed: ")]
    assert re.match(rf"failed: musicgen tokenize: error: .*{shard.name}.*\(results/logs/tokenize/", line)


def test_a_rule_is_named_after_its_stage_and_runs_its_command() -> None:
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    rules = re.findall(r"^rule (\w+):.*?\"musicgen ([a-z]+) ", text, re.MULTILINE | re.DOTALL)
    assert {stage for _, stage in rules} == set(STAGES) - {"scan"}
    assert all(name in (stage, f"{stage}_run") for name, stage in rules)
    assert len(re.findall(r"^rule ", text, re.MULTILINE)) == len(rules)
    assert len(re.findall(r"version=STAGES\[", text)) == len(rules)


def test_profile_names_resolve_through_links() -> None:
    for name in ("local", "slurm"):
        assert os.readlink(ROOT / name) == f"profiles/{name}"
        assert (ROOT / name / "profile.yaml").is_file()
    assert not (ROOT / "profiles/default").exists()
