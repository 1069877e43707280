"""Curves beside history.jsonl: every line once, also after a resume; a missing package is a line and no end."""

import builtins
import importlib.util
import json
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from token_corpus import tiny_config

from musicgen_core.config.load import to_json
from musicgen_core.config.upkeep import UpkeepConfig
from musicgen_core.train.metrics import History
from musicgen_core.train.sinks import scalars
from musicgen_core.util.atomic import read_jsonl

Train = Callable[..., list[dict[str, Any]]]


def line(step: int, loss: float) -> dict[str, Any]:
    return {"kind": "train", "step": step, "loss": loss, "loss_per_codebook": [loss, loss + 1], "mfu": None}


def read_board(run_dir: Path, name: str) -> list[tuple[int, float]]:
    board = EventAccumulator(str(run_dir / "tensorboard"))
    board.Reload()
    return [(event.step, event.value) for event in board.Scalars(name)]


def test_tensorboard_shows_each_line_once_after_a_resume_from_an_older_step(tmp_path: Path) -> None:
    first = History(tmp_path, 0, ["tensorboard"])
    for step in range(1, 8):
        first.add(line(step, float(step)))
    first.close()
    second = History(tmp_path, 4, ["tensorboard"])  # the newest checkpoint was at step 4
    for step in range(5, 11):
        second.add(line(step, 100.0 + step))
    second.close()
    expected = [(step, float(step)) for step in range(1, 5)] + [(step, 100.0 + step) for step in range(5, 11)]
    assert read_board(tmp_path, "train/loss") == expected
    assert [json.loads(text)["loss"] for text in second.path.read_text().splitlines()] == [y for _, y in expected]
    assert len(read_board(tmp_path, "train/loss_codebook_1")) == 10


def test_a_sink_that_is_switched_on_later_shows_all(tmp_path: Path) -> None:
    first = History(tmp_path, 0)
    for step in (1, 2, 3):
        first.add(line(step, float(step)))
    first.close()
    assert not (tmp_path / "tensorboard").exists()
    History(tmp_path, 3, ["tensorboard"]).close()
    assert read_board(tmp_path, "train/loss") == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_missing_package_is_one_line(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "wandb":
            raise ModuleNotFoundError("No module named 'wandb'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    (tmp_path / "upkeep.json").write_text(to_json(UpkeepConfig(sinks=("wandb",))))
    train(tmp_path / "run", tiny_config(steps=2), upkeep=tmp_path / "upkeep.json")
    said = capsys.readouterr().err
    assert said.count("train: no curves for wandb: No module named 'wandb'; install the extra `track`") == 1
    assert (tmp_path / "run/DONE").exists()


def read_log(data: bytes) -> Iterator[bytes]:
    """Records of a LevelDB log (its doc/log_format.md), after W&B's 7 bytes."""
    place, parts = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last of several
            yield parts
            parts = b""


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="needs the extra `track`")
@pytest.mark.filterwarnings("default")  # wandb's own
def test_wandb_writes_offline_files_and_each_line_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "online")  # whatever the environment asks for
    first = History(tmp_path, 0, ["wandb"])
    for step in range(1, 6):
        first.add(line(step, float(step)))
    first.close()
    second = History(tmp_path, 3, ["wandb"])
    second.add(line(4, 104.0))
    second.close()
    files = list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 1
    found = []
    for data in read_log(files[0].read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            values = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
            found.append((values["_step"], values["train/loss"]))
    assert found == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 104.0)]


class StandIn(types.ModuleType):
    """Takes wandb's place, and notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.begun: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def Settings(self, **keys: Any) -> dict[str, Any]:  # wandb's name
        return keys

    def init(self, **keys: Any) -> "StandIn":
        self.begun.append(keys)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


def test_what_is_asked_of_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline whatever the environment says, nothing of the machine or the code, one id for all starts of a run."""
    wandb = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    run_dir = tmp_path / "base-1a2b3c4d"
    first = History(run_dir, 0, ["wandb"])
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"
    for step in (1, 2, 3):
        first.add(line(step, float(step)))
    first.sync()
    first.close()
    (run_dir / "wandb").mkdir()
    (run_dir / "wandb/old").write_text("of the first start")
    second = History(run_dir, 2, ["wandb"])
    second.add({**line(3, 103.0), "mfu": 0.5, "samples": "digest"})
    second.close()
    for keys in wandb.begun:
        assert (keys["mode"], keys["id"], keys["name"], keys["dir"]) == ("offline", run_dir.name, run_dir.name, run_dir)
        assert keys["settings"]["disable_git"]
        assert keys["settings"]["disable_code"]
        assert keys["settings"]["x_disable_meta"]
    assert (len(wandb.begun), wandb.finished) == (2, 2)
    assert not (run_dir / "wandb/old").exists()
    assert [(step, values["train/loss"]) for step, values in wandb.logged] == [
        *((step, float(step)) for step in (1, 2, 3)),
        *((step, float(step)) for step in (1, 2)),
        (3, 103.0),
    ], "each start writes its files anew, up to the step that it resumes at"
    assert wandb.logged[-1][1] == {
        "train/loss": 103.0,
        "train/loss_codebook_0": 103.0,
        "train/loss_codebook_1": 104.0,
        "train/mfu": 0.5,
    }


def test_a_run_shows_all_its_figures_in_both_sinks(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    (tmp_path / "upkeep.json").write_text(to_json(UpkeepConfig(sinks=("tensorboard", "wandb"))))
    train(tmp_path / "run", tiny_config(steps=20), upkeep=tmp_path / "upkeep.json")
    kept = read_jsonl(tmp_path / "run/history.jsonl")
    assert {one["kind"] for one in kept} == {"train", "valid", "epoch"}
    expected = [(one["step"], dict(scalars(one))) for one in kept]
    assert wandb.logged == expected
    assert {name.removeprefix("train/") for name, _ in scalars(kept[0])} >= {
        *("loss", "loss_codebook_0", "loss_codebook_3", "lr", "grad_norm", "frames_per_sec", "data_wait_share"),
        *("flops_per_sec", "memory_mib", "checkpoint_stall_sec", "time_sec"),
    }
    for name in {name for _, values in expected for name in values}:
        points = [(step, values[name]) for step, values in expected if name in values]
        assert read_board(tmp_path / "run", name) == [(step, pytest.approx(value)) for step, value in points], name
