"""A run whose music changed after it was trained: what `on_changed_data` does, said before it is done."""

import re
import shutil
from pathlib import Path

import pytest
from small_music import make_tone
from small_project import make_project
from thousand_tracks import Thousand, below_training


@pytest.fixture
def trained(tmp_path: Path, codec: Path) -> Thousand:
    """One run is trained; then a track is added."""
    small = make_project(tmp_path / "project", codec)
    project = Thousand(small.folder, small.config)
    project.config["runs"] = {"base": {}}
    project.finish()
    make_tone(project.music / "new.wav", 1000)
    return project


def folders(project: Thousand) -> set[str]:
    return {path.name for path in (project.folder / "results/runs").iterdir()}


@pytest.mark.parametrize("policy", ["restart", "continue"])
def test_training_on_changed_data_goes_to_a_folder_of_its_own(trained: Thousand, policy: str) -> None:
    (old,) = folders(trained)
    trained.config["on_changed_data"] = policy
    done = trained.dry_run("--printshellcmds")
    (new,) = trained.run_folders()
    assert new != old
    assert set(below_training([new])) <= set(done.jobs)
    (line,) = [line for line in done.text.splitlines() if line.startswith("plan: runs.base: ")]
    assert f"changed since {old} was trained; on_changed_data is {policy}: {new}" in line
    assert line.endswith(f"; {old} stays as it is")
    source = old if policy == "continue" else ""
    assert re.search(rf"--continue-from={source}(''| )", done.text)
    trained.finish()
    again = trained.dry_run()
    assert again.jobs == []
    assert "changed since" not in again.text
    trained.config["on_changed_data"] = "restart"
    assert trained.dry_run().jobs == [], "how a training began is settled once it has begun"


def test_training_on_changed_data_refused(trained: Thousand) -> None:
    (old,) = folders(trained)
    trained.config["on_changed_data"] = "refuse"
    refused = trained.snakemake("--profile", "local", "--dry-run")
    assert refused.returncode == 1
    assert refused.error_line.startswith("Error: runs.base: the music, its words or their preparation changed")
    assert f"since {old} was trained; on_changed_data is refuse" in refused.error_line
    assert trained.dry_run("tokens").counts["index"] == 1
    (trained.music / "new.wav").unlink()
    assert trained.dry_run().jobs == []


def test_training_that_lost_its_checkpoints_is_no_predecessor(trained: Thousand) -> None:
    (old,) = folders(trained)
    shutil.rmtree(trained.folder / "results/runs" / old / "checkpoints")
    trained.config["on_changed_data"] = "refuse"
    assert trained.dry_run().counts["train_run"] == 1
