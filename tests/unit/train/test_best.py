"""The best set: never one whose validation is not a number, and never missing at the end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from token_corpus import tiny_config

from musicgen_core.train import loop, setup
from musicgen_core.train.checkpoint import load_best_weights
from musicgen_core.train.fit import NoMemoryError
from musicgen_core.train.step import NonFiniteError

Train = Callable[..., list[dict[str, Any]]]
CONFIG = tiny_config(steps=20, validate_every_steps=5)


def spoil(monkeypatch: pytest.MonkeyPatch, number: int, value: float) -> None:
    """Codebook 2 of this validation, counted from 1, is no number."""
    real, calls = loop.validate, []

    def validate(*arguments: Any) -> np.ndarray:
        calls.append(1)
        loss_K = real(*arguments)
        if len(calls) == number:
            loss_K[2] = value
        return loss_K

    monkeypatch.setattr(loop, "validate", validate)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_validation_that_is_not_finite_stops_the_run_and_takes_nothing_away(
    value: float, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        spoil(patch, 3, value)
        with pytest.raises(NonFiniteError, match=r"step 15: the validation loss is not finite \(codebooks 2\)") as stop:
            train(tmp_path / "run", CONFIG)
    assert "best-00000010 and the last checkpoint stay" in str(stop.value)
    names = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    assert names == ["best-00000010", "step-00000005", "step-00000010"]
    assert not (tmp_path / "run/DONE").exists()
    assert "NaN" not in (tmp_path / "run/history.jsonl").read_text()
    lines = train(tmp_path / "run", CONFIG)  # it was a passing trouble: the same command goes on
    assert lines == train(tmp_path / "whole", CONFIG)
    ours, theirs = (load_best_weights(tmp_path / name) for name in ("run", "whole"))
    assert ours[1] == theirs[1]
    assert all((ours[0][name] == tensor).all() for name, tensor in theirs[0].items())


@pytest.mark.parametrize("loss", ["torn", "gone"])
def test_a_finished_run_whose_best_set_is_lost_takes_its_last_average(
    loss: str, tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(tmp_path / "run", CONFIG)
    best = next((tmp_path / "run/checkpoints").glob("best-*"))
    before = json.loads((tmp_path / "run/DONE").read_text())
    (tmp_path / "run/DONE").unlink()
    for path in best.iterdir():
        path.write_bytes(b"") if loss == "torn" else path.unlink()
    if loss == "gone":
        best.rmdir()
    capsys.readouterr()
    assert train(tmp_path / "run", CONFIG) == whole, "its validation is in the history already"
    said = capsys.readouterr().err
    assert "train: no sound best set is left; the averaged weights of step 20 are validated and take its place" in said
    done = json.loads((tmp_path / "run/DONE").read_text())
    last = [line["loss"] for line in whole if line["kind"] == "valid"][-1]
    assert (done["best_step"], done["best_valid_loss"]) == (20, last)
    assert done["steps"] == before["steps"]
    assert load_best_weights(tmp_path / "run")[1]["step"] == 20


def test_a_finished_run_without_its_history_still_finishes(tmp_path: Path, train: Train) -> None:
    train(tmp_path / "run", CONFIG)
    for name in ("DONE", "history.jsonl"):
        (tmp_path / "run" / name).unlink()
    train(tmp_path / "run", CONFIG)
    assert json.loads((tmp_path / "run/DONE").read_text())["train_loss"] is None


@pytest.mark.parametrize(
    ("where", "name", "phase"),
    [(loop, "validate", "gradients|update|validation"), (setup, "build_model", "set-up, building the model")],
)
def test_memory_that_runs_out_beside_a_step_is_one_line(
    where: Any, name: str, phase: str, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(where, name, short)
    with pytest.raises(NoMemoryError, match=rf"out of memory at: ({phase}), after \d+ steps \(CUDA .*GiB\); set"):
        train(tmp_path / "run", CONFIG)
