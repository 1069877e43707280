"""The launchers as a user calls them. SLURM is played by four scripts; tests/slurm has the real one."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from token_corpus import tiny_config, write_corpus

from musicgen_core.stages.train import run
from musicgen_core.train import follow
from musicgen_core.util.atomic import read_jsonl

CONFIG = tiny_config(steps=30)


def wait_for_lines(path: Path, count: int) -> None:
    deadline = time.monotonic() + 90
    while not path.exists() or path.read_text().count("\n") < count:
        assert time.monotonic() < deadline, f"{path} has no {count} lines"
        time.sleep(0.002)


def losses(run_dir: Path) -> list[float]:
    return [line["loss"] for line in read_jsonl(run_dir / "history.jsonl")]


def test_torchrun_saves_on_a_signal_and_one_process_finishes_the_run(tmp_path: Path) -> None:
    folder, index = write_corpus(tmp_path)
    run_dir = tmp_path / "run"
    command = [sys.executable, "-m", "musicgen_core.cli", "train", "--config", json.dumps(asdict(CONFIG))]
    command += ["--manifests", str(folder), "--indexes", str(index), "--run-dir", str(run_dir)]
    command += ["--launcher", "torchrun", "--processes-per-node", "2"]
    with open(tmp_path / "log", "w") as log:
        agent = subprocess.Popen(command, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        wait_for_lines(run_dir / "history.jsonl", 6)
        agent.send_signal(signal.SIGTERM)
        code = agent.wait(60)
    said = (tmp_path / "log").read_text()
    assert code == 75, said
    assert "train: starting 2 processes with 1 threads each" in said
    assert "stopped by a signal, saved at step" in said
    assert "Traceback" not in said
    run(CONFIG, manifests=[folder], indexes=[index], run_dir=run_dir)
    run(CONFIG, manifests=[folder], indexes=[index], run_dir=tmp_path / "alone")
    assert losses(run_dir) == pytest.approx(losses(tmp_path / "alone"), abs=1e-5)


SCRIPTS = {
    # Runs the job in the background, and again for as long as scontrol asked for it.
    "sbatch": """
echo $((40 + $(ls $STATE | grep -c started) + 1)) > $STATE/id; touch $STATE/started.$(cat $STATE/id)
export SLURM_JOB_ID=$(cat $STATE/id) SLURM_JOB_NUM_NODES=1 SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0
export SLURM_JOB_NODELIST=localhost SLURM_RESTART_COUNT=0
(while :; do rm -f $STATE/requeue; bash "$1"; [ -e $STATE/requeue ] || break; SLURM_RESTART_COUNT=1; done
rm $STATE/alive) </dev/null >/dev/null 2>&1 & echo $! > $STATE/alive
echo Submitted batch job $SLURM_JOB_ID""",
    "srun": """
while :; do case $1 in --output) out=$2; shift 2;; --error) err=$2; shift 2;; --*) shift;; *) break;; esac; done
out=$(echo $out | sed "s/%j/$SLURM_JOB_ID/;s/%t/0/"); err=$(echo $err | sed "s/%j/$SLURM_JOB_ID/;s/%t/0/")
exec "$@" >>$out 2>>$err""",
    "squeue": """
if [ -e $STATE/alive ]; then [ -e $STATE/cancelled ] && echo COMPLETING || echo RUNNING; exit; fi
echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1""",
    "scontrol": "echo $@ >> $STATE/requeue; cp $STATE/requeue $STATE/requeued",
    "scancel": "touch $STATE/cancelled; kill -TERM $(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/' $LOCK)",
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of scripts in PATH that play SLURM; their state lies in the folder returned."""
    programs, state = tmp_path / "bin", tmp_path / "state"
    programs.mkdir()
    state.mkdir()
    for name, text in SCRIPTS.items():
        (programs / name).write_text(f"#!/bin/bash\n{text.strip()}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("STATE", str(state))
    monkeypatch.setenv("LOCK", str(tmp_path / "run/LOCK"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(follow, "POLL_SEC", 0.1)
    return state


def test_submitit_follows_its_job_through_a_preemption(
    slurm: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, index = write_corpus(tmp_path)
    run_dir = tmp_path / "run"

    def preempt() -> None:
        wait_for_lines(run_dir / "history.jsonl", 6)
        os.kill(json.loads((run_dir / "LOCK").read_text())["pid"], signal.SIGUSR2)

    thread = threading.Thread(target=preempt)
    thread.start()
    run(CONFIG, manifests=[folder], indexes=[index], run_dir=run_dir, launcher="submitit")
    thread.join()
    said = capfd.readouterr().err
    assert "SLURM job 41 submitted: 1 nodes x 1 processes" in said
    assert "stopped by a signal, saved at step" in said
    assert "took over" not in said
    assert "train: step 30/30" in said
    assert (slurm / "requeued").read_text().split() == ["requeue", "41"]
    assert json.loads((run_dir / "job.json").read_text())["job_id"] == "41"
    text = (run_dir / "slurm/41_submission.sh").read_text()
    for option in ("--requeue", "--mem=4000M", "--time=60", "--signal=USR2@90", "--kill-on-bad-exit=1"):
        assert option in text
    run(CONFIG, manifests=[folder], indexes=[index], run_dir=tmp_path / "alone")
    assert losses(run_dir) == losses(tmp_path / "alone")


def test_submitit_finds_a_job_that_outlived_its_caller_and_cancels_it_on_ctrl_c(
    slurm: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, index = write_corpus(tmp_path)
    run_dir = tmp_path / "run"
    config = tiny_config(steps=100_000)
    where = {"manifests": [folder], "indexes": [index], "run_dir": run_dir, "launcher": "submitit"}

    def press() -> None:
        wait_for_lines(run_dir / "history.jsonl", 6)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(SystemExit) as left:
        run(config, **where)
    thread.join()
    assert left.value.code == 75
    assert "SLURM job 41 goes on; run the same command to follow it" in capfd.readouterr().err
    assert not (slurm / "cancelled").exists()

    real, pressed = follow.Follower._print_new, []

    def press_once(follower: follow.Follower) -> None:
        if not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        real(follower)

    monkeypatch.setattr(follow.Follower, "_print_new", press_once)
    with pytest.raises(SystemExit) as left:
        run(config, **where)
    assert left.value.code == 75
    said = capfd.readouterr().err
    assert "SLURM job 41 still has this run; following it" in said
    assert "cancelling SLURM job 41; it saves first" in said
    assert "stopped by a signal, saved at step" in said
    assert (slurm / "cancelled").exists()
    assert not (run_dir / "LOCK").exists()
