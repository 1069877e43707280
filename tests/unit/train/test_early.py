"""Early stopping: when, with what, and the same after a kill."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from token_corpus import tiny_config

from musicgen_core.config.optimization import EarlyStoppingConfig
from musicgen_core.train.checkpoint import load_best_weights
from musicgen_core.train.early import has_converged

Train = Callable[..., list[dict[str, Any]]]


def lines(*losses: float) -> list[dict[str, Any]]:
    valid = [{"kind": "valid", "step": step, "loss": loss} for step, loss in enumerate(losses, start=1)]
    return [{"kind": "train", "step": 0, "loss": 0.0}, *valid]


@pytest.mark.parametrize(
    ("losses", "patience", "min_delta", "ends"),
    [
        ((), 1, 0.0, False),
        ((3.0,), 1, 0.0, False),
        ((3.0, 3.0), 1, 0.0, True),
        ((3.0, 2.9), 1, 0.0, False),
        ((3.0, 2.8), 1, 0.1, False),
        ((3.0, 2.95), 1, 0.1, True),
        ((3.0, 3.1, 3.2), 3, 0.0, False),
        ((3.0, 3.1, 3.2, 3.0), 3, 0.0, True),
        ((3.0, 3.1, 3.2, 2.9), 3, 0.0, False),
        ((3.0, float("nan"), float("nan")), 2, 0.0, True),
        ((3.0, 2.95, 2.9, 2.85), 3, 0.1, False),
    ],
)
def test_when_it_ends(losses: tuple[float, ...], patience: int, min_delta: float, ends: bool) -> None:
    assert has_converged(lines(*losses), EarlyStoppingConfig(patience=patience, min_delta=min_delta)) == ends


def test_an_extension_begins_to_count_anew() -> None:
    config = EarlyStoppingConfig(patience=2)
    before = lines(3.0, 3.1, 3.2)
    assert has_converged(before, config)
    assert not has_converged([*before, {"kind": "extend", "step": 3}], config)
    assert has_converged([*before, {"kind": "extend", "step": 3}, *lines(3.5, 3.5, 3.5)], config)


def test_a_run_ends_early_as_done_and_a_killed_one_at_the_same_step(
    tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    early = EarlyStoppingConfig(patience=2, min_delta=10.0)
    config = tiny_config(early_stopping=early, validate_every_steps=3, log_every_steps=20)
    whole = train(tmp_path / "whole", config)
    said = capsys.readouterr().err
    assert "ends early, at step 9 of 20: the last 2 validations were no better than the best before" in said
    assert [line["step"] for line in whole if line["kind"] == "valid"] == [3, 6, 9]
    done = json.loads((tmp_path / "whole/DONE").read_text())
    assert done["steps"] == 9
    assert done["stopped_early"]
    assert done["best_step"] == load_best_weights(tmp_path / "whole")[1]["step"]
    train(tmp_path / "whole", config)
    assert "already trained" in capsys.readouterr().err

    train(tmp_path / "cut", config)
    (tmp_path / "cut/DONE").unlink()
    assert train(tmp_path / "cut", config) == whole, "killed between the last checkpoint and DONE"
    (tmp_path / "cut/DONE").unlink()
    (tmp_path / "cut/checkpoints/step-00000009/manifest.json").write_text("{")
    assert train(tmp_path / "cut", config) == whole


@pytest.mark.parametrize("off", [None, 0.0])
def test_clipping_can_be_switched_off(off: float | None, tmp_path: Path, train: Train) -> None:
    norms = {}
    for name, limit in (("off", off), ("loose", 1e9), ("tight", 1e-3)):
        found = train(tmp_path / name, tiny_config(steps=3, max_grad_norm=limit, learning_rate=1e-2))
        norms[name] = [(line["loss"], line["grad_norm"]) for line in found if line["kind"] == "train"]
    assert norms["off"] == norms["loose"]
    assert norms["tight"][0] == norms["off"][0], "the norm that is logged is the one before clipping"
    assert norms["tight"] != norms["off"]
