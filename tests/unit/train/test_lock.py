import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
import torch

from musicgen_core.train.fit import STARTS
from musicgen_core.train.lock import is_queued, run_lock
from musicgen_core.train.ranks import Refused, World

ALONE = World(0, 1, torch.device("cpu"), None)


def _write(folder: Path, **changes: object) -> None:
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": "1", "job_id": None, "time": "then"}
    (folder / "LOCK").write_text(json.dumps({**owner, **changes}))


def _fake_squeue(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "bin/squeue"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_a_second_trainer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    with run_lock(tmp_path, ALONE):
        with pytest.raises(Refused, match=rf"is being trained by process {os.getpid()} on \S+ since .*; wait for it"):
            run_lock(tmp_path, ALONE).__enter__()
        assert (tmp_path / "LOCK").exists()
    assert not (tmp_path / "LOCK").exists()


@pytest.mark.parametrize("kind", ["dead", "reused", "torn"])
def test_a_stale_lock_is_taken_over(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if kind == "dead":
        gone = subprocess.Popen(["true"])
        gone.wait()
        _write(tmp_path, pid=gone.pid)
    elif kind == "reused":
        _write(tmp_path)
    else:
        (tmp_path / "LOCK").write_text("")
    with run_lock(tmp_path, ALONE):
        assert json.loads((tmp_path / "LOCK").read_text())["pid"] == os.getpid()
    assert "took over the lock of process" in capsys.readouterr().err


def test_a_lock_of_another_machine_says_what_to_do(tmp_path: Path) -> None:
    _write(tmp_path, host="elsewhere")
    with pytest.raises(Refused, match=r"cannot be asked from .*; if it is gone, delete .*LOCK"):
        run_lock(tmp_path, ALONE).__enter__()


def test_a_lock_of_a_slurm_job_lives_as_long_as_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, host="n1", job_id="41")
    _fake_squeue(tmp_path, "echo RUNNING", monkeypatch)
    with pytest.raises(Refused, match="is being trained by SLURM job 41, process"):
        run_lock(tmp_path, ALONE).__enter__()
    _fake_squeue(tmp_path, "echo no controller >&2; exit 1", monkeypatch)
    with pytest.raises(Refused, match="cannot be asked"):
        run_lock(tmp_path, ALONE).__enter__()
    _fake_squeue(tmp_path, "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", monkeypatch)
    with run_lock(tmp_path, ALONE):
        pass


def test_a_requeued_job_takes_its_own_lock_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(tmp_path, host="n1", job_id="41")
    _fake_squeue(tmp_path, "echo RUNNING", monkeypatch)
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    with run_lock(tmp_path, ALONE):
        assert (tmp_path / "LOCK").exists()
    assert not (tmp_path / "LOCK").exists()
    assert capsys.readouterr().err == "train: SLURM job 41 was queued again, and takes its own lock back\n"


def test_a_process_that_started_again_keeps_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `execv` it has the same number and begin, and has left its lock behind."""
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    monkeypatch.delenv(STARTS, raising=False)
    with run_lock(tmp_path, ALONE):
        left = (tmp_path / "LOCK").read_text()
    (tmp_path / "LOCK").write_text(left)
    monkeypatch.setenv(STARTS, "1")
    with run_lock(tmp_path, ALONE):
        pass
    said = capsys.readouterr().err
    assert said == f"train: process {os.getpid()} has started again in its place, and keeps its lock\n"


def test_states_of_ended_jobs_are_not_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for state, alive in [("PENDING", True), ("COMPLETING", True), ("CANCELLED", False), ("", False)]:
        _fake_squeue(tmp_path, f"echo {state}", monkeypatch)
        assert is_queued("1") is alive
    monkeypatch.setenv("PATH", "")
    assert is_queued("1") is None
