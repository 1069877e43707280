"""A run on 1,000 tracks whose music changed after it was trained: what `on_changed_data` does, said before."""

import copy
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from thousand_tracks import Jobs, Thousand, below_training, bucket_jobs, make_clip, make_thousand

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, codec: Path) -> Thousand:
    project = make_thousand(tmp_path_factory.mktemp("trained") / "project", codec)
    project.config["runs"] = {"base": {}}
    project.finish()
    return project


@pytest.fixture
def trained(finished: Thousand, tmp_path: Path) -> Thousand:
    """One run is trained; then a track is added."""
    shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)
    project = Thousand(tmp_path / "project", copy.deepcopy(finished.config))
    make_clip(project.music / "new.wav", np.random.default_rng(1))
    return project


def of_the_new_track(project: Thousand) -> Jobs:
    bucket = {project.bucket_of("new.wav")}
    jobs = bucket_jobs("resample", bucket) + bucket_jobs("tokenize", bucket)
    return [*jobs, ("index", "corpus=mine"), ("manifest", "corpus=mine")]


def folders(project: Thousand) -> set[str]:
    return {path.name for path in (project.folder / "results/runs").iterdir()}


@pytest.mark.parametrize("policy", ["restart", "continue"])
def test_training_on_changed_data_goes_to_a_folder_of_its_own(trained: Thousand, policy: str) -> None:
    (old,) = folders(trained)
    trained.config["on_changed_data"] = policy
    done = trained.dry_run("--printshellcmds")
    (new,) = trained.run_folders()
    assert new != old
    assert done.jobs == sorted(of_the_new_track(trained) + below_training([new]))
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
    assert trained.dry_run("tokens").jobs == sorted(of_the_new_track(trained))
    (trained.music / "new.wav").unlink()
    assert trained.dry_run().jobs == []


def test_training_that_lost_its_checkpoints_is_no_predecessor(trained: Thousand) -> None:
    (old,) = folders(trained)
    shutil.rmtree(trained.folder / "results/runs" / old / "checkpoints")
    trained.config["on_changed_data"] = "refuse"
    jobs = trained.dry_run().jobs
    assert jobs == sorted(of_the_new_track(trained) + below_training(trained.run_folders()))
