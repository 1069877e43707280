"""`extend` and `init_from` in Snakemake's graph: what is trained first, and what is left alone."""

import re
import subprocess
import sys
from pathlib import Path

from small_project import make_project
from thousand_tracks import Thousand, below_training


def test_a_longer_run_goes_on_from_the_finished_one_and_another_starts_from_it(tmp_path: Path, codec: Path) -> None:
    small = make_project(tmp_path / "project", codec)
    project = Thousand(small.folder, small.config)
    project.config["runs"] = {"base": {"training": {"steps": 4}}}
    project.finish()
    (short,) = project.run_folders()

    project.config["runs"] = {
        "base": {"training": {"steps": 8, "extend_from": [4]}},
        "tuned": {"training": {"init_from": {"run": "base"}}},
    }
    done = project.dry_run("--printshellcmds")
    folders = {str(run["key"]): str(run["folder"]) for run in project.planned_runs().values()}
    assert folders["base@4"] == short
    assert sorted(done.jobs) == sorted(below_training([folders["base"], folders["tuned"]]))
    nothing = "(?:'')?"
    assert re.search(rf"--extend-from={short} --init-from={nothing} ", done.text)
    digest = "[0-9a-f]{32}"
    assert re.search(rf"--extend-from={nothing} --init-from={folders['base']} --init-digest={digest} ", done.text)
    why = subprocess.run(
        [Path(sys.executable).with_name("musicgen"), "why", "train"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"extends {short} to 8 steps; unlike {short}: training.extend_from [] -> [4], training.steps 4 -> 8" in why
    assert f"starts from the weights of {folders['base']}" in why

    project.finish()
    assert project.dry_run().jobs == []
    (project.folder / "results/runs" / short / "DONE").touch()
    assert project.dry_run().jobs == [], "a run is followed by what it was, not by when it was written"


def test_what_was_never_trained_is_trained_first(tmp_path: Path, codec: Path) -> None:
    small = make_project(tmp_path / "project", codec)
    project = Thousand(small.folder, small.config)
    project.config["runs"] = {
        "base": {"training": {"steps": 8, "extend_from": [4]}},
        "tuned": {"training": {"init_from": {"run": "base"}}},
    }
    done = project.dry_run("train")
    folders = {str(run["key"]): str(run["folder"]) for run in project.planned_runs().values()}
    assert done.counts["train_run"] == 3
    blocks = re.findall(r"^(?:local)?rule train_run:\n((?:    .*\n)+)", done.text, re.MULTILINE)
    inputs = {re.search(r"wildcards: run=(\S+)", block)[1]: block.split("    output:")[0] for block in blocks}  # type: ignore[index]
    assert f"{folders['base@4']}/DONE" in inputs[folders["base"]]
    assert f"{folders['base']}/DONE" in inputs[folders["tuned"]]
    assert "DONE" not in inputs[folders["base@4"]]
