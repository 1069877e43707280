"""Which micro-batch is tried, and what is said when none is left."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from token_corpus import tiny_config

from musicgen_core.train import step
from musicgen_core.train.fit import FILE, Fit, NoMemoryError, TooLargeError

Train = Callable[..., list[dict[str, Any]]]
ERROR = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def test_halves_divide_the_share_of_a_process(tmp_path: Path) -> None:
    tried, fit = [], Fit(tmp_path, 12, None)
    while isinstance(error := fit.shrink(0, 0, ERROR), TooLargeError):
        tried.append(error.smaller)
        (tmp_path / FILE).write_text(json.dumps({"micro_batch_size": error.smaller}))
    assert tried == [6, 3, 1]
    assert "even one segment at a time is too much: set training.activation_checkpointing" in str(error)
    assert Fit(tmp_path, 12, 4).micro_batch_size == 1
    (tmp_path / FILE).write_text(json.dumps({"micro_batch_size": 4}))
    assert Fit(tmp_path, 6, None).micro_batch_size == 3, "on more processes a share is smaller"
    assert Fit(tmp_path, 12, 2).micro_batch_size == 2, "the config may ask for less"
    (tmp_path / FILE).write_text("{")
    assert Fit(tmp_path, 12, None).micro_batch_size == 12


def test_after_the_first_steps_it_is_an_error_with_the_remedy(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = step.sum_losses, []

    def short(*arguments: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 7:
            raise ERROR
        return real(*arguments)

    monkeypatch.setattr(step, "sum_losses", short)
    with pytest.raises(NoMemoryError, match=r"step 7 ran out of memory .*; set training.micro_batch_size below 4"):
        train(tmp_path, tiny_config())
    assert not (tmp_path / FILE).exists()


def test_alone_it_starts_again_in_the_same_process(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = train(tmp_path / "small", tiny_config(steps=6, micro_batch_size=2))
    real = step.sum_losses

    def short(*arguments: torch.Tensor) -> torch.Tensor:
        if len(arguments[0]) > 2:
            raise ERROR
        return real(*arguments)

    monkeypatch.setattr(step, "sum_losses", short)
    assert train(tmp_path / "run", tiny_config(steps=6)) == expected
    assert "starts again with a micro-batch of 2 per process; the global batch stays 4." in capsys.readouterr().err
