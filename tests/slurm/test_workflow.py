"""`snakemake --profile slurm train` on a real cluster of two nodes, from music to a trained model."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from training import listen_to_ctrl_c, wait_until

from musicgen_core.config.site import TRAINING
from musicgen_core.util.partition import Request, check_request, read_partitions

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]  # a machine that does much else needs minutes

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
    return cluster.run("snakemake", "--profile", "slurm", *arguments, cwd=project, env=SITE | env, timeout=1000)


@dataclass
class Started:
    """A snakemake in the background."""

    process: subprocess.Popen
    output: Path

    @property
    def said(self) -> str:
        return self.output.read_text()

    def wait_for(self, words: str, seconds: float = 300) -> None:
        wait_until(lambda: words in self.said or self.process.poll() is not None, seconds, lambda: self.said)
        assert words in self.said, self.said

    def end(self, seconds: float = 400) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it hangs:\n{self.said}") from None


@pytest.fixture(scope="module")
def begin(cluster) -> Iterator[Callable[..., Started]]:
    begun = []

    def start(project: Path, *arguments: str, **env: str) -> Started:
        output = project / f"said-{len(begun)}.txt"
        with open(output, "w") as handle:
            process = subprocess.Popen(
                ["snakemake", "--profile", "slurm", *arguments],
                cwd=project,
                env=cluster.env | SITE | env,
                stdout=handle,
                stderr=handle,
                start_new_session=True,
                preexec_fn=listen_to_ctrl_c,
            )
        begun.append(Started(process, output))
        return begun[-1]

    yield start
    for one in begun:
        if one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()


@pytest.fixture(scope="module")
def waiting(project: Path, begin, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Started]]:
    """Snakemakes whose bucket jobs wait in the queue, in a project each: nothing runs, so they cost nothing."""
    started = {}
    for name in ("cancelled", "interrupted", "killed"):
        folder = tmp_path_factory.mktemp(name) / "project"
        shutil.copytree(project, folder, symlinks=True, ignore=shutil.ignore_patterns("results", ".snakemake", "logs"))
        started[name] = (folder, begin(folder, "tokens", MUSICGEN_PARTITION="closed"))
    return started


def own_jobs(cluster, folder: Path) -> list[dict[str, str]]:
    return [job for job in cluster.jobs() if job.get("WorkDir") == str(folder)]


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


def test_wrong_geometry_is_refused_before_submission(cluster, project: Path) -> None:
    before = cluster.jobs()
    shown = snakemake(cluster, project, "train", MUSICGEN_NODES="4")
    assert shown.returncode == 1
    last = shown.stderr.rstrip().splitlines()[-1]
    assert re.fullmatch(
        r"Error: training base-\w+: partition debug has 2 nodes, but 4 were asked for; lower MUSICGEN_NODES", last
    )
    assert "Traceback" not in shown.stderr
    assert cluster.jobs() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partition": "nowhere"}, "no partition nowhere here; set MUSICGEN_TRAIN_PARTITION to one of closed, debug, "),
        ({"processes_per_node": 5}, r"nodes with 4 CPUs, but 5 \(5 processes x 1\) on a node were asked for"),
        ({"gpus_per_node": 3}, "nodes with 2 GPUs, but 3 on a node were asked for; lower MUSICGEN_GPUS_PER_NODE"),
        ({"memory_mb": 9000}, "nodes with 8000 MB of memory, but 9000 on a node were asked for"),
        ({"partition": "gpu", "nodes": 2}, "partition gpu has 1 nodes, but 2 were asked for; lower MUSICGEN_NODES"),
        ({"partition": "gpu", "runtime_min": 241}, "partition gpu allows 240 min, but 241 min were asked for; lower "),
    ],
)
def test_what_this_cluster_can_never_start(
    cluster, changes: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, cluster.env[name])
    fitting = Request(what="training", partition="gpu", runtime_min=240, memory_mb=8000, remedies=TRAINING)
    check_request(fitting, read_partitions())
    with pytest.raises(ValueError, match=message):
        check_request(replace(fitting, **changes), read_partitions())


def test_two_snakemakes_at_once_are_one_line(cluster, waiting) -> None:
    folder, first = waiting["cancelled"]
    first.wait_for("has been submitted with SLURM jobid")
    shown = snakemake(cluster, folder, "tokens", MUSICGEN_PARTITION="closed")
    assert shown.returncode == 1
    (error,) = [line for line in shown.stderr.splitlines() if "rror" in line or "LockException" in line]
    assert error.startswith(f"Error: another snakemake works in this folder (process {first.process.pid} on ")
    assert error.endswith("; wait for it, or stop it")


def test_a_cancelled_data_job_ends_the_workflow_with_a_line(cluster, waiting) -> None:
    folder, started = waiting["cancelled"]
    started.wait_for("has been submitted with SLURM jobid")
    (job,) = own_jobs(cluster, folder)
    cluster.run("scancel", job["JobId"], timeout=20)
    assert started.end() == 1
    assert f"failed: SLURM job {job['JobId']} (resample) was cancelled (scancel); run the same command" in started.said


def test_ctrl_c_cancels_waiting_data_jobs(cluster, waiting) -> None:
    folder, started = waiting["interrupted"]
    started.wait_for("has been submitted with SLURM jobid")
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.end() == 1
    assert {job["JobState"] for job in own_jobs(cluster, folder)} == {"CANCELLED"}


def test_jobs_of_a_dead_snakemake_are_named(cluster, waiting) -> None:
    folder, started = waiting["killed"]
    started.wait_for("has been submitted with SLURM jobid")
    os.killpg(started.process.pid, signal.SIGKILL)
    started.process.wait()
    (job,) = own_jobs(cluster, folder)
    shown = snakemake(cluster, folder, "tokens")
    assert shown.returncode == 1
    assert f"Error: the snakemake that worked here was killed (process {started.process.pid} on " in shown.stderr
    assert snakemake(cluster, folder, "--unlock").returncode == 0
    shown = snakemake(cluster, folder, "tokens")
    assert shown.returncode == 1
    last = shown.stderr.rstrip().splitlines()[-1]
    assert last.startswith("Error: SLURM jobs of a snakemake that died still work here: ")
    assert f"{job['JobId']} (resample, PENDING); wait until they have ended, or end them: " in last
    assert last.endswith(f"scancel {job['JobId']}; then the same command")
    numbers = [one["JobId"] for one in own_jobs(cluster, folder)]  # its LastSchedEval moves on
    assert numbers == [job["JobId"]], "nothing was submitted beside it"
    cluster.run("scancel", job["JobId"], timeout=20)


def test_train_runs_buckets_as_jobs_and_training_over_two_nodes(cluster, project: Path) -> None:
    """What the profile asks for reaches SLURM; logs and progress reach the terminal."""
    site = {
        "MUSICGEN_PROCESSES": "2",  # 2 nodes x 2 processes
        "MUSICGEN_PARTITION": "debug",
        "MUSICGEN_ACCOUNT": "music",
        "MUSICGEN_STAGE_GPUS": "1",
        "MUSICGEN_GPU_PARTITION": "gpu",
        "MUSICGEN_BUCKETS_PER_JOB": "2",
        "MUSICGEN_BUCKET_MEMORY_MB": "3000",
        "MUSICGEN_BUCKET_RUNTIME_MIN": "50",
        "MUSICGEN_BUCKET_CPUS": "2",
    }
    shown = snakemake(cluster, project, "train", **site)
    assert shown.returncode == 0, shown.stderr
    jobs = own_jobs(cluster, project)
    stages = {job["Comment"].split("_")[1]: job for job in jobs if job["Comment"].startswith("rule_")}
    asked = {
        stage: (job["Partition"], job["Account"], job["NumCPUs"], job["MinMemoryNode"], job["TimeLimit"])
        for stage, job in stages.items()
    }
    assert asked == {
        "resample": ("debug", "music", "2", "3000M", "01:40:00"),
        "tokenize": ("gpu", "music", "2", "3000M", "01:40:00"),
        "index": ("debug", "music", "1", "2000M", "01:00:00"),
    }
    assert "gres/gpu=1" in stages["tokenize"]["TRES"] or "gres:gpu:1" in str(stages["tokenize"])
    assert len(jobs) == 4, "two buckets share a job"
    (training,) = [job for job in jobs if job["JobName"].startswith("train-")]
    assert (training["NumNodes"], training["NumTasks"], training["NodeList"]) == ("2", "4", "n[1-2]")
    assert (training["Partition"], training["Account"], training["TimeLimit"]) == ("debug", "music", "00:30:00")
    said = shown.stdout + shown.stderr
    for job in stages.values():
        assert f"has been submitted with SLURM jobid {job['JobId']} (log: {job['StdOut']})" in said
    assert f"its log is {training['StdErr']}" in said
    assert f"train: SLURM job {training['JobId']} runs on n[1-2]" in said
    assert re.search(r"train: step 6/6  loss \d.* \d:\d\d:\d\d left", said)
    (done,) = project.glob("results/runs/*/DONE")
    lines = [json.loads(line) for line in (done.parent / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    writers = {path.name.split("_")[2] for path in done.parent.glob("checkpoints/*/__*.distcp")}
    assert writers == {"0", "1", "2", "3"}, "each of the four processes holds, and saves, its share of the weights"
    assert {job["JobState"] for job in own_jobs(cluster, project)} <= {"COMPLETED", "COMPLETING"}


def test_a_second_call_has_nothing_to_do(cluster, project: Path) -> None:
    before = len(cluster.jobs())
    shown = snakemake(cluster, project, "train")
    assert shown.returncode == 0, shown.stderr
    assert "Nothing to be done" in shown.stdout + shown.stderr
    assert len(cluster.jobs()) == before


def test_sigterm_on_snakemake_leaves_the_training_running(cluster, project: Path, begin) -> None:
    (project / "long.yaml").write_text("training: {steps: 1000000}\n")
    started = begin(project, "train", "--configfile", "long.yaml")
    started.wait_for("train: step 2/")
    started.process.send_signal(signal.SIGTERM)  # to snakemake alone, as a system that shuts down may do
    assert started.end() == 1
    job = own_jobs(cluster, project)[-1]
    assert f"SLURM job {job['JobId']} goes on; run the same command to follow it" in started.said
    assert job["JobState"] == "RUNNING"


def test_ctrl_c_cancels_the_training_job_once_it_has_saved(cluster, project: Path, begin) -> None:
    job = own_jobs(cluster, project)[-1]
    started = begin(project, "train", "--configfile", "long.yaml")
    started.wait_for("it is followed when its turn comes")
    started.wait_for(f"train: SLURM job {job['JobId']} still has this run; following it")
    started.wait_for("train: step ")
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.end() == 1
    assert "saved at step" in started.said
    after = own_jobs(cluster, project)[-1]
    assert (after["JobId"], after["JobState"]) == (job["JobId"], "CANCELLED")
