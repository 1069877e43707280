"""What can happen to a training job, on a real cluster: docs/slurm.md names these tests.

One run of two processes on two nodes goes through every interruption and must come out with the losses of a run that
nobody disturbed. Jobs that end for good run beside its start.
"""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from token_corpus import write_corpus
from training import Training, command, start, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def corpus(folder: Path) -> tuple[Path, Path]:
    return write_corpus(folder)


@pytest.fixture(scope="module")
def begin(cluster, folder: Path, corpus: tuple[Path, Path]) -> Iterator[Callable[..., Training]]:
    begun = []

    def start_one(name: str, act: str = "slow", **where: int) -> Training:
        begun.append(start(cluster.env, corpus, folder / name, act, **where))
        return begun[-1]

    yield start_one
    for training in begun:
        if training.process.poll() is None:
            training.process.kill()
        training.process.wait()


@pytest.fixture(scope="module")
def doomed(begin) -> dict[str, Training]:
    """Jobs that end for good, all at once."""
    return {
        "fail": begin("failing", "fail"),
        "eat": begin("hungry", "eat", nodes=1, memory_mb=1000),
        "cancel": begin("cancelled", nodes=1),
    }


@pytest.fixture(scope="module")
def long(begin, doomed) -> Training:
    """The run that is interrupted again and again."""
    return begin("long")


@pytest.fixture(scope="module")
def undisturbed(cluster, folder: Path, corpus: tuple[Path, Path], long: Training) -> Iterator[Training]:
    """The same run by torchrun, without SLURM."""
    words = command(corpus, folder / "undisturbed", launcher="torchrun", processes_per_node=2)
    with open(folder / "undisturbed.txt", "w") as handle:
        process = subprocess.Popen(words, env=cluster.env | {"ACT": "slow"}, stderr=handle)
    yield Training(folder / "undisturbed", process, folder / "undisturbed.txt")
    process.kill()
    process.wait()


def test_a_process_that_fails_is_shown_with_its_own_traceback_first(doomed: dict[str, Training]) -> None:
    training = doomed["fail"]
    assert training.end() == 1
    after = training.said.split("train: step 3/")[1]
    first = after.index("Traceback (most recent call last)")
    assert "train: process 1 on n2 failed:\nTraceback" in after
    assert after.count("Traceback (most recent call last)") == 1, "the other process only lost its connection"
    assert first < after.index("ZeroDivisionError: a mistake in process 1")
    last = after.rstrip().splitlines()[-1]
    assert last.endswith("failed in process 1 on n2: ZeroDivisionError: a mistake in process 1")
    assert f"{training.run_dir}/slurm/{training.job_id}_" in after


def test_a_job_killed_for_memory_says_so_with_the_figure_and_the_remedy(doomed: dict[str, Training]) -> None:
    training = doomed["eat"]
    assert training.end() == 1
    last = training.said.rstrip().splitlines()[-1]
    assert re.search(r"was killed for memory: it needs more than 1000 MB per node .*; raise MUSICGEN_MEMORY_MB; ", last)


def test_a_cancelled_job_is_reported_and_ends_the_command(cluster, doomed: dict[str, Training]) -> None:
    training = doomed["cancel"]
    training.wait_for_step(2)
    cluster.run("scancel", training.job_id, timeout=20)
    assert training.end() == 1
    last = training.said.rstrip().splitlines()[-1]
    saved = re.search(r"was cancelled \(scancel\); saved at step (\d+); run the same command to resume", last)
    assert saved, training.said
    assert int(saved[1]) == max(training.losses)
    assert (training.run_dir / f"checkpoints/step-{int(saved[1]):08d}").is_dir()


def check_resume(long: Training, undisturbed: Training, interrupt: Callable[[str], None]) -> list[int]:
    """Interrupt the running job, wait until it trains again, and compare all losses so far; return its starts."""
    before = len(long.starts)
    wait_until(lambda: len(long.losses) >= long.starts[-1] + 3 if long.starts else False, 120, lambda: long.said)
    interrupt(long.job_id)
    wait_until(lambda: len(long.starts) > max(before, 1), 180, lambda: long.said)
    resumed = long.starts[-1]
    wait_until(lambda: len(long.losses) >= resumed + 2, 60, lambda: long.said)
    losses = long.losses
    wait_until(lambda: len(undisturbed.losses) >= len(losses), 300, lambda: undisturbed.said)
    expected = undisturbed.losses
    assert losses == {step: expected[step] for step in losses}
    return long.starts


def saved_steps(long: Training) -> list[int]:
    return [int(step) for step in re.findall(r"stopped by a signal, saved at step (\d+);", long.said)]


def test_the_time_limit_is_met_by_saving_early_and_queueing_again(
    cluster, long: Training, undisturbed: Training
) -> None:
    def shorten(job_id: str) -> None:  # the signal comes 90 s before the end
        assert cluster.run("scontrol", "update", f"JobId={job_id}", "TimeLimit=2", timeout=20).returncode == 0
        wait_until(lambda: "saved at step" in long.said, 120, lambda: long.said)
        cluster.run("scontrol", "update", f"JobId={job_id}", "TimeLimit=60", timeout=20)

    starts = check_resume(long, undisturbed, shorten)
    assert starts[-1] == saved_steps(long)[-1] > 0


def test_preemption_by_an_urgent_job(cluster, long: Training, undisturbed: Training) -> None:
    def push_out(job_id: str) -> None:
        words = ["sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--mem=7000", "--output=/dev/null"]
        assert cluster.run(*words, "--wrap=sleep 1", timeout=20).returncode == 0

    starts = check_resume(long, undisturbed, push_out)
    assert starts[-1] == saved_steps(long)[-1]


def test_scontrol_requeue(cluster, long: Training, undisturbed: Training) -> None:
    starts = check_resume(long, undisturbed, lambda job_id: cluster.run("scontrol", "requeue", job_id, timeout=20))
    assert starts[-1] == saved_steps(long)[-1]


def test_a_node_that_goes_down(cluster, long: Training, undisturbed: Training) -> None:
    def take_down(job_id: str) -> None:
        before = long.said.count("queued again")
        cluster.run("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=test", timeout=20)
        wait_until(lambda: long.said.count("queued again") > before, 180, lambda: long.said)
        cluster.run("scontrol", "update", "NodeName=n2", "State=RESUME", timeout=20)

    check_resume(long, undisturbed, take_down)
    assert long.process.poll() is None, "SLURM queued it again by itself; the follower stayed"


def test_a_killed_follower_is_replaced_and_ctrl_c_cancels(cluster, long: Training, begin) -> None:
    """The terminal dies; the same command finds the job; Ctrl-C ends it, saved."""
    long.process.kill()
    long.process.wait()
    again = begin("long")
    again.wait_for(f"train: SLURM job {long.job_id} still has this run; following it")
    again.wait_for("train: step ")
    os.kill(again.process.pid, signal.SIGINT)
    assert again.end() == 75
    assert f"cancelling SLURM job {long.job_id}; it saves first" in again.said
    assert saved_steps(again)[-1] == max(again.losses)
    states = {job["JobId"]: job["JobState"] for job in cluster.jobs()}
    assert states[long.job_id] == "CANCELLED"
    assert [job["JobId"] for job in cluster.jobs() if job["JobName"] == "train-long"] == [long.job_id]
