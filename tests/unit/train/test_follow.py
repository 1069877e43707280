"""Verdicts on jobs that ended before their run did; tests/slurm has those that a real cluster can be brought to."""

import json
from pathlib import Path

import pytest
from fake_slurm import play

from musicgen_core.train import follow
from musicgen_core.train.failures import note_failure
from musicgen_core.train.follow import Follower
from musicgen_core.util.slurm import JobState

__all__ = ["play"]


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    (tmp_path / "run/slurm").mkdir(parents=True)
    (tmp_path / "run/checkpoints/step-00000040").mkdir(parents=True)
    (tmp_path / "run/job.json").write_text(json.dumps({"job_id": "7", "asked": {"memory_mb": 1000}}))
    return Follower(tmp_path / "run", "7")


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ("JobState=CANCELLED", "was cancelled (scancel)"),
        ("JobState=TIMEOUT TimeLimit=01:00:00", "ran into its time limit, 01:00:00; raise MUSICGEN_RUNTIME_MIN"),
        (
            "JobState=OUT_OF_MEMORY",
            "was killed for memory: it needs more than 1000 MB per node; raise MUSICGEN_MEMORY_MB",
        ),
        ("JobState=NODE_FAIL Reason=NodeDown", "ended in state NODE_FAIL and SLURM did not queue it again (NodeDown)"),
        ("JobState=FAILED ExitCode=9:0", "ended before the run did (state FAILED, exit code 9:0)"),
        ("", "ended before the run did"),
    ],
)
def test_why_a_job_ended(play, follower: Follower, shown: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    play("scontrol", f"echo '{shown}'")
    follower.explain()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"train: SLURM job 7 {words}; saved at step 40; run the same command to resume"


def test_a_process_that_died_without_a_word_is_shown_by_the_end_of_its_log(
    play, follower: Follower, capsys: pytest.CaptureFixture[str]
) -> None:
    play("scontrol", "echo JobState=FAILED ExitCode=139:0")
    (follower.run_dir / "slurm/7_1_log.err").write_text("train: step 1/2\nFatal Python error: Segmentation fault\n")
    follower.explain()
    said = capsys.readouterr().err
    assert "train: the end of 7_1_log.err:\n    Fatal Python error: Segmentation fault\n" in said


def test_lost_connections_alone_do_not_hide_a_kill_for_memory(
    play, follower: Follower, capsys: pytest.CaptureFixture[str]
) -> None:
    play("scontrol", "echo JobState=OUT_OF_MEMORY")
    note_failure(follower.run_dir / "slurm", "7", 0, 0)(RuntimeError("NCCL error: remote process exited"), "lost")
    follower.explain()
    said = capsys.readouterr().err
    assert "was killed for memory" in said.splitlines()[-1]
    assert "then lost the connection to it: process 0" in said


def test_only_the_end_of_a_known_jobs_log_is_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm/7_0_log.err").write_text("".join(f"train: step {n}/100\n" for n in range(1, 91)))
    Follower(tmp_path, "7", known=True)._print_new()
    assert capsys.readouterr().err.splitlines() == [f"train: step {n}/100" for n in range(76, 91)]


def test_a_job_that_waits_less_than_a_poll_is_still_said_to_be_queued_again(
    follower: Follower, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states = ["PENDING", "RUNNING", "SUSPENDED", "RUNNING", "", "RUNNING", "COMPLETING", "RUNNING", "NODE_FAIL"]
    states += ["PENDING", "RUNNING", "COMPLETED"]
    answers = [JobState(state, nodes="n1" if state == "RUNNING" else "") for state in states]
    monkeypatch.setattr(follow, "find_state", lambda _: answers.pop(0) if len(answers) > 1 else answers[0])
    monkeypatch.setattr(follow, "POLL_SEC", 0.0)
    follower.follow()
    said = [line.removeprefix(f"train: SLURM job {follower.job_id} ") for line in capsys.readouterr().err.splitlines()]
    assert said == ["waits", "runs on n1", "was queued again", "runs on n1", "is queued again", "runs on n1"]
