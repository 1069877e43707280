"""100 steps == some + kill -9 + the rest, to the last bit, through the command line."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks, start_ranks
from token_corpus import tiny_config, write_corpus

from musicgen_core.stages.train import run
from musicgen_core.train.checkpoint import read_tensors
from musicgen_core.train.job import TrainJob
from musicgen_core.train.launch import run_rank
from musicgen_core.util.atomic import read_jsonl

CONFIG = tiny_config(steps=100, checkpoint_every_steps=10, validate_every_steps=25)

CLOCK = ("time_sec", "frames_per_sec", "data_wait_share", "flops_per_sec", "memory_mib", "checkpoint_stall_sec")
NUM_KILLS = int(os.environ.get("MUSICGEN_KILLS", "3"))


def without_clock(run_dir: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in read_jsonl(run_dir / "history.jsonl")]


def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, index = write_corpus(tmp_path)
    command = [sys.executable, "-m", "musicgen_core.cli", "train", "--config", json.dumps(asdict(CONFIG))]
    command += ["--manifests", str(folder), "--indexes", str(index), "--run-dir", str(tmp_path / "killed")]
    trainer = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    history = tmp_path / "killed/history.jsonl"
    while trainer.poll() is None and (not history.exists() or history.read_text().count("\n") < 54):
        time.sleep(0.002)
    trainer.send_signal(signal.SIGKILL)
    assert trainer.wait() == -signal.SIGKILL
    assert (tmp_path / "killed/LOCK").exists()

    run(CONFIG, manifests=[folder], indexes=[index], run_dir=tmp_path / "killed")
    said = capfd.readouterr().err
    assert "took over the lock of process" in said
    assert re.search(r"resumes at step [3-6]0 of 100", said)
    run(CONFIG, manifests=[folder], indexes=[index], run_dir=tmp_path / "whole")
    assert without_clock(tmp_path / "killed") == without_clock(tmp_path / "whole")
    for name in ("step-00000100", "best-00000100"):
        killed, whole = (read_tensors(tmp_path / run_dir / "checkpoints" / name) for run_dir in ("killed", "whole"))
        assert killed.keys() == whole.keys()
        assert all(torch.equal(killed[key], whole[key]) for key in whole), name
    assert any(key.startswith("optimizer.") for key in read_tensors(tmp_path / "whole/checkpoints/step-00000100"))


def kill_at_random(job: TrainJob, dice: random.Random, log: Path) -> bool:
    """Start two processes, kill one or both of them at some moment, wait for the other -> False if all had ended well.

    Moments: some lines further on in the history, a set on its way to disk, or anywhere in the start; there, before
    they have met, only what has started them can know of both, so both are killed.
    """
    history, folder = job.run_dir / "history.jsonl", job.run_dir / "checkpoints"
    before = history.read_text().count("\n") if history.exists() else 0
    moment, more = dice.choice(["lines", "lines", "write", "start"]), dice.randrange(1, 12)
    left_over = any(folder.glob(".step-*"))  # by an earlier kill; the start clears it away
    processes = start_ranks(2, run_rank, (job,), log)
    deadline = time.monotonic() + (dice.random() if moment == "start" else 120)
    while any(process.is_alive() for process in processes) and time.monotonic() < deadline:
        lines = history.read_text().count("\n") if history.exists() else 0
        if moment == "lines" and not before <= lines < before + more:
            break
        writes = any(folder.glob(".step-*"))
        left_over = left_over and writes
        if moment == "write" and writes and not left_over:
            break
        time.sleep(0.001)
    time.sleep(dice.random() * 0.02)
    for process in processes if moment == "start" else dice.choice([processes, processes[:1], processes[1:]]):
        process.kill()
    for process in processes:
        process.join(60)  # the survivor notices by itself
        assert process.exitcode is not None
    return [process.exitcode for process in processes] != [0, 0]


@pytest.mark.timeout(0 if NUM_KILLS > 3 else 900)
def test_killed_again_and_again_two_processes_end_as_if_they_had_not_been(tmp_path: Path) -> None:
    """MUSICGEN_KILLS=200 pytest -s tests/distributed/test_kill.py -k again: as often as you like."""
    folder, index = write_corpus(tmp_path)
    config = tiny_config(steps=12 * NUM_KILLS, checkpoint_every_steps=4, validate_every_steps=10)
    job = TrainJob(config, (folder,), (index,), tmp_path / "killed", 1)
    dice, kills = random.Random(NUM_KILLS), 0
    while kills < NUM_KILLS and not (job.run_dir / "DONE").exists():
        kills += kill_at_random(job, dice, tmp_path / "log")
    limit_sec = 120 + 2.0 * config.training.steps
    assert run_ranks(2, run_rank, (job,), tmp_path / "log", limit_sec=limit_sec) == [0, 0]
    whole = replace(job, run_dir=tmp_path / "whole")
    assert run_ranks(2, run_rank, (whole,), tmp_path / "log.whole", limit_sec=limit_sec) == [0, 0]
    assert without_clock(job.run_dir) == without_clock(whole.run_dir)
    names = {path.name for path in (job.run_dir / "checkpoints").iterdir()}
    assert names == {path.name for path in (whole.run_dir / "checkpoints").iterdir()}
    for name in names:
        ours, theirs = (read_tensors(run.run_dir / "checkpoints" / name) for run in (job, whole))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name
    print(f"{kills} kills, {config.training.steps} steps: the same to the last bit")
    assert kills >= min(NUM_KILLS, 2), "it was done before it was killed often enough"
