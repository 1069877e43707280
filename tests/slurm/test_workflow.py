"""`snakemake --profile slurm train` on a real cluster of two nodes, from music to a trained model."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(280)]

SITE = {
    "MUSICGEN_NODES": "2",
    "MUSICGEN_PROCESSES": "1",
    "MUSICGEN_CPUS": "1",
    "MUSICGEN_MEMORY_MB": "3000",
    "MUSICGEN_RUNTIME_MIN": "30",
    "MUSICGEN_SLURM_POLL_SEC": "2",
}
"""What a user of this cluster would set (config/README.md)."""


def snakemake(cluster, project: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return cluster.run("snakemake", "--profile", "slurm", *arguments, cwd=project, env=SITE | env, timeout=240)


def test_dry_run_names_every_job(cluster, project: Path) -> None:
    before = cluster.jobs()
    shown = snakemake(cluster, project, "-n", "train")
    assert shown.returncode == 0, shown.stderr
    counts = dict(line.split() for line in shown.stdout.splitlines() if len(line.split()) == 2)
    assert {rule: counts.get(rule) for rule in ("resample", "tokenize", "index", "manifest", "train_run")} == {
        "resample": "2",
        "tokenize": "2",
        "index": "1",
        "manifest": "1",
        "train_run": "1",
    }
    assert cluster.jobs() == before


def test_without_slurm_one_line_says_so(cluster, project: Path, tmp_path: Path) -> None:
    for tool in ("bash", "sh", "env", "git", "which"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    shown = snakemake(cluster, project, "train", PATH=f"{Path(shutil.which('snakemake')).parent}:{tmp_path}")
    assert shown.returncode == 1
    errors = [line for line in shown.stderr.splitlines() if "rror" in line]
    assert errors == ["Error: no SLURM here (sbatch is not on the PATH); go to a login node, or use --profile local"]
    assert "Traceback" not in shown.stderr


def test_train_runs_buckets_as_jobs_and_training_over_two_nodes(cluster, project: Path) -> None:
    before = {job["JobId"] for job in cluster.jobs()}
    shown = snakemake(cluster, project, "train")
    assert shown.returncode == 0, shown.stderr
    jobs = [job for job in cluster.jobs() if job["JobId"] not in before]
    assert {job["JobState"] for job in jobs} <= {"COMPLETED", "COMPLETING", "RUNNING"}
    training = [job for job in jobs if job["Command"].endswith(".sh")]
    assert [(job["NumNodes"], job["NumTasks"]) for job in training] == [("2", "2")]
    assert len(jobs) == 1 + 2 + 2 + 1, "training, and resample, tokenize for two buckets, and index"
    (done,) = project.glob("results/runs/*/DONE")
    config = json.loads((done.parent / "config.json").read_text())
    assert config["training"]["steps"] == 6


def test_a_second_call_has_nothing_to_do(cluster, project: Path) -> None:
    before = cluster.jobs()
    shown = snakemake(cluster, project, "train")
    assert shown.returncode == 0, shown.stderr
    assert "Nothing to be done" in shown.stdout + shown.stderr
    assert cluster.jobs() == before
