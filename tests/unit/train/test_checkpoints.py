"""When checkpoints are made, which stay, and what a write beside training may do."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from token_corpus import tiny_config

from musicgen_core.config.load import ConfigError, parse_config, to_json
from musicgen_core.config.upkeep import UpkeepConfig
from musicgen_core.train import checkpoint
from musicgen_core.train.checkpoint import Checkpoints
from musicgen_core.train.ranks import Refused, World
from musicgen_core.train.stop import Stopped
from musicgen_core.train.writer import BackgroundWriter

Train = Callable[..., list[dict[str, Any]]]
ALONE = World(0, 1, torch.device("cpu"), None)


def keep(folder: Path, **options: Any) -> Path:
    path = folder / "upkeep.json"
    path.write_text(to_json(UpkeepConfig(**options)))
    return path


def steps_of(run_dir: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (run_dir / "checkpoints").glob("step-*"))


def test_every_mth_stays_for_good_and_upkeep_never_changes_a_run(
    tmp_path: Path, train: Train, history: Callable[[Path], list[dict[str, Any]]], undisturbed: Path
) -> None:
    lines = train(tmp_path / "run", upkeep=keep(tmp_path, keep_every_steps=4, sinks=()))
    assert steps_of(tmp_path / "run") == [4, 8, 12, 16, 20]
    assert lines == history(undisturbed)
    assert not (tmp_path / "run/tensorboard").exists()
    config = (tmp_path / "run/config.json").read_text()
    assert "keep_every_steps" not in config, "it may change between two starts"


def test_by_time(tmp_path: Path, train: Train) -> None:
    config = tiny_config(steps=6, checkpoint_every_steps=1000, keep_last=100)
    train(tmp_path / "run", config, upkeep=keep(tmp_path, checkpoint_every_min=1e-9))
    assert steps_of(tmp_path / "run") == [1, 2, 3, 4, 5, 6]
    train(tmp_path / "rarely", config, upkeep=keep(tmp_path, checkpoint_every_min=1e9))
    assert steps_of(tmp_path / "rarely") == [6]


def test_bad_values_are_named() -> None:
    with pytest.raises(ConfigError, match=r"upkeep.keep_every_steps: 0 must be above 0"):
        parse_config({"corpora": {"a": {"path": "x"}}, "upkeep": {"keep_every_steps": 0}})
    with pytest.raises(ConfigError, match=r"upkeep.sinks"):
        parse_config({"corpora": {"a": {"path": "x"}}, "upkeep": {"sinks": ["mlflow"]}})


def test_training_goes_on_while_a_set_is_written_and_the_copy_is_of_its_step(
    tmp_path: Path, train: Train, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first set is written when five more steps are done: it must hold what it was told to, and resume exactly."""
    real, held = checkpoint.dcp.save, []

    def late(state: dict[str, Any], **options: Any) -> Any:
        if not held:
            held.append(True)
            deadline = time.monotonic() + 60
            while (tmp_path / "run/history.jsonl").read_text().count("\n") < 9:
                assert time.monotonic() < deadline, "training waits for the write"
                time.sleep(0.001)
        return real(state, **options)

    monkeypatch.setattr(checkpoint.dcp, "save", late)
    lines = train(tmp_path / "run", upkeep=keep(tmp_path, keep_every_steps=5))
    whole = checkpoint.read_tensors(undisturbed / "checkpoints/step-00000020")
    for name, tensor in checkpoint.read_tensors(tmp_path / "run/checkpoints/step-00000020").items():
        assert torch.equal(tensor, whole[name])
    for step in (10, 15, 20):
        shutil.rmtree(tmp_path / f"run/checkpoints/step-000000{step}")
    (tmp_path / "run/DONE").unlink()
    assert train(tmp_path / "run") == lines


def test_a_write_that_fails_ends_training_at_the_next_step(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(state: dict[str, Any], **options: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(checkpoint.dcp, "save", fail)
    with pytest.raises(OSError, match=r"step-00000005: the checkpoint could not be written.*no space left"):
        train(tmp_path, tiny_config(steps=100_000))
    assert not (tmp_path / "DONE").exists()
    assert steps_of(tmp_path) == []


def test_the_last_write_is_waited_for(tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkpoint.dcp.save

    def slow(state: dict[str, Any], **options: Any) -> Any:
        time.sleep(0.5)
        return real(state, **options)

    monkeypatch.setattr(checkpoint.dcp, "save", slow)

    def interrupt() -> None:
        path = tmp_path / "history.jsonl"
        while not path.exists() or path.read_text().count("\n") < 7:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Stopped) as stopped:
        train(tmp_path, tiny_config(steps=100_000))
    thread.join()
    assert stopped.value.step in steps_of(tmp_path)


def test_the_stall_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    writer, gate = BackgroundWriter(ALONE), threading.Event()
    state = {"a": torch.zeros(3)}
    written = []

    def write(copy: dict[str, Any], world: World) -> None:
        gate.wait(60)
        written.append(copy["a"].clone())

    writer.submit("step", state, write)
    before = writer.take_stall_sec()
    state["a"] += 1
    writer.check()
    threading.Timer(0.3, gate.set).start()
    writer.submit("step", state, write)  # waits for the first one, whose memory it takes over
    assert writer.take_stall_sec() > max(0.2, before)
    writer.finish()
    writer.close()
    assert [tensor.tolist() for tensor in written] == [[0.0] * 3, [1.0] * 3]


def test_processes_that_see_other_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path, ALONE, 1)
    monkeypatch.setattr(World, "gather", lambda self, value: ["here", value])
    with pytest.raises(Refused, match=r"process 1 finds nothing on .*; put the results on a file system that all"):
        checkpoints._agree(tmp_path / "step-00000001")
