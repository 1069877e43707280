"""A run that starts from the weights of another one."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from musicgen_core.train.ranks import Refused
from musicgen_core.train.stop import Stopped

Train = Callable[..., list[dict[str, Any]]]


def beside(undisturbed: Path, folder: Path) -> Path:
    shutil.copytree(undisturbed, folder / "old-1")
    return folder / "new-2"


def test_it_starts_at_step_0_where_the_other_ended(
    undisturbed: Path, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = beside(undisturbed, tmp_path)
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "old-1").rglob("*"))
    lines = train(new, continue_from="old-1")
    assert "average are those of old-1, step 20" in capsys.readouterr().err
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    first = [line["loss"] for line in train(tmp_path / "fresh") if line["kind"] == "train"]
    assert len(losses) == 20
    assert losses[0] < first[0] - 0.05
    assert json.loads((new / "config.json").read_text())["continued_from"] == "old-1"
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "old-1").rglob("*")) == before


def test_it_resumes_its_own_checkpoints_and_not_the_others(
    undisturbed: Path, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = beside(undisturbed, tmp_path)
    whole = train(tmp_path / "whole-3", continue_from="old-1")

    def interrupt() -> None:
        path = new / "history.jsonl"
        while not path.exists() or path.read_text().count("\n") < 7:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Stopped):
        train(new, continue_from="old-1")
    thread.join()
    capsys.readouterr()
    assert train(new, continue_from="old-1") == whole
    assert "average are those of" not in capsys.readouterr().err


def test_without_a_sound_checkpoint_it_is_refused(undisturbed: Path, train: Train, tmp_path: Path) -> None:
    new = beside(undisturbed, tmp_path)
    for path in (tmp_path / "old-1/checkpoints").glob("step-*/manifest.json"):
        path.write_text("{")
    with pytest.raises(Refused, match=r"old-1/checkpoints holds no sound checkpoint to continue from; set on_changed"):
        train(new, continue_from="old-1")
