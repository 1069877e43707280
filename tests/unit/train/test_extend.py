"""A run that goes on where a shorter one ended."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from token_corpus import tiny_config

from musicgen_core.config.optimization import ConstantScheduleConfig, EarlyStoppingConfig
from musicgen_core.train.checkpoint import load_best_weights, read_tensors
from musicgen_core.train.ranks import Refused
from musicgen_core.util.digest import digest_json

Train = Callable[..., list[dict[str, Any]]]

CONSTANT = {"schedule": ConstantScheduleConfig(kind="constant")}


def extend(train: Train, parent: Path, folder: Path, **training: Any) -> list[dict[str, Any]]:
    return train(folder, tiny_config(**training), extend_from=parent.name)


def without_marks(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["kind"] != "extend"]


def test_under_a_constant_rate_it_equals_the_run_that_never_ended(
    tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(tmp_path / "whole", tiny_config(**CONSTANT))
    train(tmp_path / "short", tiny_config(**CONSTANT, steps=10))
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "short").rglob("*"))
    capsys.readouterr()
    lines = extend(train, tmp_path / "short", tmp_path / "long", **CONSTANT, extend_from=(10,))
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "extends" in line]
    assert said.startswith(
        "train: extends short from step 10 to 20: weights, optimizer state, average and place in the"
    )
    assert said.endswith("the schedule constant does not depend on the number of steps: it goes on at 0.003")
    assert without_marks(lines) == whole
    for name in ("step-00000020", "best-00000020"):
        expected = read_tensors(tmp_path / "whole/checkpoints" / name)
        found = read_tensors(tmp_path / "long/checkpoints" / name)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "short").rglob("*")) == before
    assert json.loads((tmp_path / "long/config.json").read_text())["extended_from"] == "short"


def test_the_cosine_rises_again_and_that_is_said(
    undisturbed: Path, tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(undisturbed, tmp_path / "old")
    lines = extend(train, tmp_path / "old", tmp_path / "new", steps=40, extend_from=(20,), log_every_steps=5)
    said = capsys.readouterr().err
    assert "the learning rate was 2.55e-05 there, at the end of a schedule of 20 steps, and is 0.00" in said
    assert "resumes at step 20 of 40" in said
    rates = {line["step"]: line["lr"] for line in lines if line["kind"] == "train"}
    assert rates[25] > 10 * rates[20]
    assert [line["step"] for line in lines if line["kind"] == "extend"] == [20]


def test_the_best_of_the_shorter_run_stays_the_best(tmp_path: Path, train: Train) -> None:
    train(tmp_path / "short", tiny_config(steps=10))
    path = tmp_path / "short/checkpoints/best-00000010/manifest.json"
    manifest = json.loads(path.read_text())["manifest"] | {"loss": 0.5}  # far better than what will come
    path.write_text(json.dumps({"manifest": manifest, "digest": digest_json(manifest)}))
    expected, _ = load_best_weights(tmp_path / "short")
    extend(train, tmp_path / "short", tmp_path / "long", steps=12, extend_from=(10,))
    found, best = load_best_weights(tmp_path / "long")
    assert best == {"step": 10, "loss": 0.5}
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert json.loads((tmp_path / "long/DONE").read_text())["best_step"] == 10


@pytest.mark.parametrize("lost", ["step-00000020/manifest.json", "config.json"])
def test_a_killed_extension_is_taken_up(lost: str, tmp_path: Path, train: Train) -> None:
    """Killed before its own first checkpoint, or before it had taken anything over."""
    train(tmp_path / "short", tiny_config(steps=10))
    options = {"extend_from": (10,), "checkpoint_every_steps": 100}
    whole = extend(train, tmp_path / "short", tmp_path / "whole", **options)
    extend(train, tmp_path / "short", tmp_path / "cut", **options)
    (tmp_path / "cut/DONE").unlink()
    if lost == "config.json":
        shutil.rmtree(tmp_path / "cut/checkpoints")
        (tmp_path / "cut/checkpoints/.best-00000010").mkdir(parents=True)
    else:
        (tmp_path / "cut/checkpoints" / lost).write_text("{")
    assert extend(train, tmp_path / "short", tmp_path / "cut", **options) == whole


def test_what_ended_early_goes_on_with_new_patience(tmp_path: Path, train: Train) -> None:
    early = EarlyStoppingConfig(patience=1, min_delta=10.0)
    options = {**CONSTANT, "early_stopping": early, "validate_every_steps": 4}
    train(tmp_path / "short", tiny_config(**options))
    assert json.loads((tmp_path / "short/DONE").read_text())["steps"] == 8
    lines = extend(train, tmp_path / "short", tmp_path / "long", **options, steps=40, extend_from=(20,))
    assert [line["step"] for line in lines if line["kind"] == "extend"] == [8]
    assert json.loads((tmp_path / "long/DONE").read_text())["steps"] == 16


def test_without_a_sound_checkpoint_it_is_refused(undisturbed: Path, tmp_path: Path, train: Train) -> None:
    shutil.copytree(undisturbed, tmp_path / "old")
    for path in (tmp_path / "old/checkpoints").glob("step-*/manifest.json"):
        path.write_text("{")
    with pytest.raises(Refused, match=r"old/checkpoints holds no sound step checkpoint to go on from"):
        extend(train, tmp_path / "old", tmp_path / "new", steps=40, extend_from=(20,))
    with pytest.raises(ValueError, match=r"extend_from ends with 20: name the folder of that run by --extend-from"):
        train(tmp_path / "new", tiny_config(steps=40, extend_from=(20,)))
