"""100 steps == some + kill -9 + the rest, to the last bit, through the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from token_corpus import tiny_config, write_corpus

from musicgen_core.stages.train import run
from musicgen_core.train.checkpoint import read_tensors
from musicgen_core.util.atomic import read_jsonl

CONFIG = tiny_config(steps=100, checkpoint_every_steps=10, validate_every_steps=25)


def without_clock(run_dir: Path) -> list[dict[str, Any]]:
    clock = ("time_sec", "frames_per_sec", "data_wait_share")
    return [{k: v for k, v in line.items() if k not in clock} for line in read_jsonl(run_dir / "history.jsonl")]


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
    assert "resumes at step 5" in said or "resumes at step 6" in said
    run(CONFIG, manifests=[folder], indexes=[index], run_dir=tmp_path / "whole")
    assert without_clock(tmp_path / "killed") == without_clock(tmp_path / "whole")
    for name in ("step-00000100", "best-00000100"):
        killed, whole = (read_tensors(tmp_path / run_dir / "checkpoints" / name) for run_dir in ("killed", "whole"))
        assert killed.keys() == whole.keys()
        assert all(torch.equal(killed[key], whole[key]) for key in whole), name
    assert any(key.startswith("optimizer.") for key in read_tensors(tmp_path / "whole/checkpoints/step-00000100"))
