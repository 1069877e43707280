"""`snakemake --profile slurm train` on a real cluster of two nodes, from music to a trained model."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]  # a machine that does much else needs minutes

SITE = {
    "MUSICGEN_NODES": "2",
    "MUSICGEN_PROCESSES": "1",
    "MUSICGEN_CPUS": "1",
    "MUSICGEN_MEMORY_MB": "3000",
    "MUSICGEN_RUNTIME_MIN": "30",
    "MUSICGEN_SLURM_POLL_SEC": "1",
}
"""What a user of this cluster would set (config/README.md)."""


def snakemake(cluster, project: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return cluster.run("snakemake", "--profile", "slurm", *arguments, cwd=project, env=SITE | env, timeout=500)


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
    shown = snakemake(cluster, project, "train", PATH=f"{Path(sys.executable).parent}:{tmp_path}")
    assert shown.returncode == 1
    (error,) = [line for line in shown.stderr.splitlines() if "rror" in line]
    assert error.startswith("Error: no SLURM here")
    assert "--profile local" in error
    assert "Traceback" not in shown.stderr


def test_train_runs_buckets_as_jobs_and_training_over_two_nodes(cluster, project: Path) -> None:
    before = len(cluster.jobs())
    shown = snakemake(cluster, project, "train")
    assert shown.returncode == 0, shown.stderr
    jobs = cluster.jobs()[before:]
    rules = [match[1] for job in jobs if (match := re.match(r"rule_(\w+?)_wildcards", job.get("Comment", "")))]
    assert sorted(rules) == ["index", "resample", "resample", "tokenize", "tokenize"]
    (training,) = [job for job in jobs if job["JobName"].startswith("train-")]
    assert len(jobs) == len(rules) + 1
    assert (training["NumNodes"], training["NumTasks"], training["NodeList"]) == ("2", "2", "n[1-2]")
    (done,) = project.glob("results/runs/*/DONE")
    lines = [json.loads(line) for line in (done.parent / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    writers = {path.name.split("_")[2] for path in done.parent.glob("checkpoints/*/__*.distcp")}
    assert writers == {"0", "1"}, "each of the two processes holds, and saves, its share of the weights"
    assert {job["JobState"] for job in cluster.jobs()[before:]} <= {"COMPLETED", "COMPLETING"}


def test_a_second_call_has_nothing_to_do(cluster, project: Path) -> None:
    before = len(cluster.jobs())
    shown = snakemake(cluster, project, "train")
    assert shown.returncode == 0, shown.stderr
    assert "Nothing to be done" in shown.stdout + shown.stderr
    assert len(cluster.jobs()) == before


def test_ctrl_c_cancels_the_training_job_once_it_has_saved(cluster, project: Path) -> None:
    (project / "long.yaml").write_text("training: {steps: 1000000}\n")
    command = ["snakemake", "--profile", "slurm", "train", "--configfile", "long.yaml"]
    with (
        open(project / "long.txt", "w") as output,
        subprocess.Popen(
            command, cwd=project, env=cluster.env | SITE, stdout=output, stderr=output, start_new_session=True
        ) as process,
    ):
        try:
            wait_until(lambda: "step 2/" in (project / "long.txt").read_text() or process.poll() is not None)
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(timeout=120) == 1
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert "saved at step" in (project / "long.txt").read_text()
    assert cluster.jobs()[-1]["JobState"] == "CANCELLED"


def wait_until(test: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)
