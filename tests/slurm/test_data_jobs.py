"""What can happen to a job of buckets, on a real cluster: docs/slurm.md names these tests.

One SLURM job makes both buckets of a project. Its first bucket is made; at the second the event comes.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from test_workflow import Started, begin, own_jobs, snakemake
from training import wait_until

__all__ = ["begin"]

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

TARGETS = [f"results/audio/demo/{number:05d}-of-00002.tar" for number in range(2)]
SITE = {"MUSICGEN_BUCKETS_PER_JOB": "2", "MUSICGEN_BUCKET_MEMORY_MB": "1000"}

# Called by the rule before the stage: with a first bucket made, and as long as a file `act` is there, do what it says.
BEFORE = """echo "$1" >>begun.txt
if [ -e act ] && ls results/audio/demo/*.tar >/dev/null 2>&1; then . ./act; fi
"""
WAIT = "echo x >>waiting.txt; while [ -e act ]; do sleep 0.2; done"
EAT = "python -c \"import time; kept = b'x' * (2 << 30); time.sleep(120)\""


class Bucket:
    """A project, and the snakemake whose only job of SLURM makes its two buckets."""

    def __init__(self, cluster, folder: Path, begin: Callable[..., Started], act: str) -> None:
        self.cluster, self.folder = cluster, folder
        (folder / "act").write_text(f"{act}\n")
        (folder / "before.sh").write_text(BEFORE)
        rule = folder / "workflow/rules/audio.smk"
        text = rule.read_text().replace('"musicgen resample ', '"sh before.sh {wildcards.bucket}; musicgen resample ')
        rule.write_text(text)
        self.started = begin(folder, *TARGETS, **SITE)

    @property
    def job(self) -> dict[str, str]:
        (job,) = own_jobs(self.cluster, self.folder)
        return job

    def wait_at_the_second_bucket(self, times: int = 1) -> None:
        path = self.folder / "waiting.txt"
        wait_until(
            lambda: self.started.process.poll() is not None or (path.exists() and path.read_text().count("x") >= times),
            240,
            lambda: f"{self.job}\n{self.started.said}",
        )
        assert self.started.process.poll() is None, self.started.said

    def made(self) -> dict[str, int]:
        """Finished buckets and when they were made."""
        return {path.name: path.stat().st_mtime_ns for path in self.folder.glob("results/audio/demo/*.tar")}

    def scontrol(self, *words: str) -> None:
        shown = self.cluster.run("scontrol", *words, timeout=20)
        assert shown.returncode == 0, shown.stderr


@pytest.fixture(scope="module")
def buckets(cluster, project: Path, begin, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bucket]:
    """All begin at once and wait for each other nowhere."""
    found = {}
    for name, act in {"requeued": WAIT, "cancelled": WAIT, "late": WAIT, "hungry": EAT}.items():
        folder = tmp_path_factory.mktemp(name) / "project"
        shutil.copytree(project, folder, symlinks=True, ignore=shutil.ignore_patterns("results", ".snakemake", "logs"))
        found[name] = Bucket(cluster, folder, begin, act)
    late = found["late"]
    late.wait_at_the_second_bucket()
    late.scontrol("update", f"JobId={late.job['JobId']}", "TimeLimit=1")
    return found


def check_that_the_first_bucket_stays(bucket: Bucket) -> None:
    """The failed job's finished bucket is there, and the same command makes the other alone."""
    (kept,) = bucket.made()
    (bucket.folder / "act").unlink()
    shown = snakemake(bucket.cluster, bucket.folder, "--dry-run", *TARGETS, **SITE)
    assert re.findall(r"bucket=(\S+)", shown.stdout) == [
        name for name in (Path(t).stem for t in TARGETS) if f"{name}.tar" != kept
    ]


def test_a_running_data_job_that_is_cancelled_keeps_its_finished_bucket(buckets: dict[str, Bucket]) -> None:
    bucket = buckets["cancelled"]
    bucket.wait_at_the_second_bucket()
    job = bucket.job["JobId"]
    bucket.cluster.run("scancel", job, timeout=20)
    assert bucket.started.end() == 1
    assert f"failed: SLURM job {job} (resample) was cancelled (scancel); run the same command" in bucket.started.said
    before = bucket.made()
    check_that_the_first_bucket_stays(bucket)
    shown = snakemake(bucket.cluster, bucket.folder, *TARGETS, **SITE)
    assert shown.returncode == 0, shown.stderr
    after = bucket.made()
    assert len(after) == 2
    assert before.items() <= after.items(), "the first bucket was not made again"


def test_a_data_job_killed_for_memory_says_so(buckets: dict[str, Bucket]) -> None:
    bucket = buckets["hungry"]
    assert bucket.started.end() == 1
    job = bucket.job["JobId"]
    assert re.search(
        rf"failed: SLURM job {job} \(resample\) was killed for memory: it needs more than 1000M .*; "
        "raise MUSICGEN_BUCKET_MEMORY_MB",
        bucket.started.said,
    ), bucket.started.said
    check_that_the_first_bucket_stays(bucket)


def test_a_data_job_comes_back_after_requeue_and_node_failure(buckets: dict[str, Bucket]) -> None:
    """SLURM queues it again under its number; the workflow goes on as if nothing had been."""
    bucket = buckets["requeued"]
    bucket.wait_at_the_second_bucket()
    job = bucket.job["JobId"]
    bucket.scontrol("requeue", job)
    bucket.wait_at_the_second_bucket(times=2)
    node = bucket.job["NodeList"]
    bucket.scontrol("update", f"NodeName={node}", "State=DOWN", "Reason=test")
    bucket.scontrol("update", f"NodeName={node}", "State=RESUME")
    bucket.wait_at_the_second_bucket(times=3)
    assert (bucket.job["JobId"], bucket.job["Restarts"]) == (job, "2")
    assert "Error" not in bucket.started.said


def test_a_preempted_data_job_keeps_its_finished_bucket(buckets: dict[str, Bucket]) -> None:
    """SIGTERM, which comes first, ends it: so it counts as failed, and is not queued again."""
    bucket = buckets["requeued"]
    words = ["sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--mem=7000", "--output=/dev/null"]
    assert bucket.cluster.run(*words, "--wrap=sleep 1", timeout=20).returncode == 0
    assert bucket.started.end() == 1
    assert "kept: results/audio/demo/" in bucket.started.said
    check_that_the_first_bucket_stays(bucket)


def test_a_data_job_that_runs_into_its_time_limit_says_so(buckets: dict[str, Bucket]) -> None:
    bucket = buckets["late"]
    assert bucket.started.end() == 1
    job = bucket.job["JobId"]
    assert (
        f"failed: SLURM job {job} (resample) ran into its time limit, 00:01:00; raise MUSICGEN_BUCKET_RUNTIME_MIN"
        in bucket.started.said
    ), bucket.started.said
    check_that_the_first_bucket_stays(bucket)


def test_all_made_the_same_bytes(buckets: dict[str, Bucket]) -> None:
    made = [
        {path.name: path.read_bytes() for path in buckets[name].folder.glob("results/audio/demo/*.tar")}
        for name in ("requeued", "cancelled")
    ]
    assert len(made[1]) == 2
    assert made[0]
    assert made[0].items() <= made[1].items()
