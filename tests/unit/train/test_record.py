"""What may change between two starts of a run, and what is written down of each."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from token_corpus import tiny_config

from musicgen_core.config.execution import EXECUTION, describe_changes, pick_execution, without_execution
from musicgen_core.config.plain import to_plain
from musicgen_core.config.training import TrainingConfig
from musicgen_core.train.ranks import Refused
from musicgen_core.train.record import ATTEMPTS
from musicgen_core.util.atomic import read_jsonl

Train = Callable[..., list[dict[str, Any]]]

OTHER: dict[str, Any] = {
    "micro_batch_size": 2,
    "sharding": "none",
    "activation_checkpointing": True,
    "compile": True,
    "device": "auto",
    "log_every_steps": 2,
    "checkpoint_every_steps": 7,
    "keep_last": 5,
}
"""A value for each key of EXECUTION that tiny_config does not have."""


@pytest.mark.parametrize("key", sorted(EXECUTION.keys() - {"compile"}))  # compiling takes its time; test_compile.py
def test_how_a_run_is_computed_may_change_and_is_said(
    key: str, tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(steps=4, checkpoint_every_steps=2)
    whole = train(tmp_path / "whole", config)
    run_dir = tmp_path / "run"
    train(run_dir, config)
    (run_dir / "DONE").unlink()
    (run_dir / "checkpoints/step-00000004/manifest.json").unlink()
    capsys.readouterr()
    lines = train(run_dir, tiny_config(**{"steps": 4, "checkpoint_every_steps": 2, key: OTHER[key]}))
    said = capsys.readouterr().err
    old = getattr(config.training, key)
    shown = [str(value).lower() if value is not None else "null" for value in (old, OTHER[key])]
    assert f"train: resume: {key} {shown[0]} -> {shown[1]} (the same run; " in said
    assert ("last bits" in said) == EXECUTION[key].rounds
    assert "resumes at step 2 of 4" in said
    ours, theirs = ({line["step"]: line["loss"] for line in found} for found in (lines, whole))
    assert ours == pytest.approx({step: theirs[step] for step in ours}, abs=1e-5)
    attempts = read_jsonl(run_dir / ATTEMPTS)
    assert [attempt[key] for attempt in attempts] == [old, OTHER[key]]
    assert [attempt["processes"] for attempt in attempts] == [1, 1]
    assert json.loads((run_dir / "config.json").read_text())["training"][key] == OTHER[key]


def test_what_a_run_is_may_not(tmp_path: Path, train: Train) -> None:
    train(tmp_path, tiny_config(steps=1))
    (tmp_path / "DONE").unlink()
    other = {"learning_rate": 0.5, "batch_size": 8, "precision": "bf16", "validate_every_steps": 3, "ema_decay": 0.5}
    for key, value in other.items():
        with pytest.raises(Refused, match=rf"training\.{key} was .* is {value}"):
            train(tmp_path, tiny_config(**{"steps": 1, key: value, "keep_last": 9}))


def test_signatures_hold_the_defaults_of_the_first_runs() -> None:
    """A new default is no new run, and neither is any other value; what signatures hold never changes."""
    assert {key: manner.signed for key, manner in EXECUTION.items()} == {
        "micro_batch_size": None,
        "sharding": "full",
        "activation_checkpointing": False,
        "compile": False,
        "device": "auto",
        "log_every_steps": 10,
        "checkpoint_every_steps": 100,
        "keep_last": 2,
    }
    assert OTHER.keys() == EXECUTION.keys()
    base = TrainingConfig()
    assert to_plain(without_execution(base)) == to_plain(base)
    assert without_execution(replace(base, **OTHER)) == base
    assert pick_execution(replace(base, **OTHER)) == OTHER


def test_the_line_says_every_change() -> None:
    before, now = (to_plain(one) for one in (TrainingConfig(), TrainingConfig(sharding="none", micro_batch_size=4)))
    text = describe_changes(before, now)
    assert text is not None
    assert text.startswith("micro_batch_size null -> 4; sharding full -> none (the same run; numbers may differ")
    assert describe_changes(before, before) is None
    assert describe_changes({}, now) is None, "a record from before there was the key"
