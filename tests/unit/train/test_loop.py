"""Whole runs of a tiny model in this process."""

import json
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from token_corpus import tiny_config, write_corpus
from torch.distributed.checkpoint.api import CheckpointException

from musicgen_core.config.load import from_record
from musicgen_core.config.plain import added
from musicgen_core.config.training import TrainingConfig
from musicgen_core.stages.train import run
from musicgen_core.train import checkpoint, loop, step
from musicgen_core.train.checkpoint import load_best_weights, read_tensors
from musicgen_core.train.loss import Losses
from musicgen_core.train.origin import digest_code
from musicgen_core.train.ranks import Refused
from musicgen_core.train.step import NonFiniteError, Objective, validate
from musicgen_core.train.stop import Stopped
from musicgen_core.util.atomic import read_jsonl
from musicgen_core.util.digest import digest_file

Train = Callable[..., list[dict[str, Any]]]
History = Callable[[Path], list[dict[str, Any]]]


def test_a_run_leaves_what_it_promises(undisturbed: Path, corpus: tuple[Path, Path]) -> None:
    lines = read_jsonl(undisturbed / "history.jsonl")
    train = [line for line in lines if line["kind"] == "train"]
    assert [line["step"] for line in train] == list(range(1, 21))
    assert {"loss", "loss_per_codebook", "lr", "grad_norm", "frames_per_sec", "data_wait_share", "time_sec"} < set(
        train[0]
    )
    assert train[0]["lr"] > 0
    assert train[0]["loss"] == pytest.approx(math.log(64), abs=0.5)
    assert train[-1]["loss"] < train[0]["loss"] - 0.05
    valid = [line for line in lines if line["kind"] == "valid"]
    assert [line["step"] for line in valid] == [10, 20]
    done = json.loads((undisturbed / "DONE").read_text())
    assert done["steps"] == 20
    assert done["best_valid_loss"] == min(line["loss"] for line in valid)
    assert done["train_loss"] == train[-1]["loss"]
    config = json.loads((undisturbed / "config.json").read_text())
    assert config["training"]["steps"] == 20
    manifests, index = corpus
    assert config["digests"]["made"] == {
        "train.jsonl": digest_file(manifests / "train.jsonl"),
        "valid.jsonl": digest_file(manifests / "valid.jsonl"),
        "index": digest_file(index),
    }
    assert {"torch", "numpy", "python", "musicgen_core"} <= set(config["versions"])
    assert config["code"] == digest_code()
    assert from_record(config) == tiny_config(), "resolved: every key is there"
    assert set(config["training"]) == set(TrainingConfig.__dataclass_fields__)
    assert sorted(p.name for p in (undisturbed / "checkpoints").iterdir()) == [
        "best-00000020",
        "step-00000015",
        "step-00000020",
    ]
    assert list((undisturbed / "tensorboard").iterdir())
    assert not (undisturbed / "LOCK").exists()


def test_the_best_weights_are_the_average_that_was_validated(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated: list[dict[str, torch.Tensor]] = []

    def look(objective: Objective, *rest: Any) -> np.ndarray:
        validated.append({name: tensor.clone() for name, tensor in objective.model.state_dict().items()})
        return validate(objective, *rest)

    monkeypatch.setattr(loop, "validate", look)
    train(tmp_path, tiny_config(steps=4, validate_every_steps=4, checkpoint_every_steps=4))
    weights, info = load_best_weights(tmp_path)
    saved = read_tensors(tmp_path / "checkpoints/step-00000004")
    name = "transformer.layers.1.self_attn.in_proj_weight"
    assert info["step"] == 4
    assert weights.keys() == validated[-1].keys()
    for key, tensor in weights.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, validated[-1][key])
        assert torch.equal(tensor, saved[f"ema.{key}"])
    assert not torch.equal(weights[name], saved[f"model.{name}"])


def test_a_finished_run_is_left_alone(undisturbed: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    before = (undisturbed / "DONE").stat().st_mtime_ns
    train(undisturbed)
    assert "already trained" in capsys.readouterr().err
    assert (undisturbed / "DONE").stat().st_mtime_ns == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_saves_and_the_next_start_goes_on_as_if_nothing_had_been(
    number: signal.Signals,
    tmp_path: Path,
    train: Train,
    history: History,
    undisturbed: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    former = signal.getsignal(number)

    def interrupt() -> None:
        path = tmp_path / "history.jsonl"
        while not path.exists() or path.read_text().count("\n") < 7:
            time.sleep(0.001)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Stopped) as stopped:
        train(tmp_path)
    thread.join()
    assert stopped.value.code == 75
    assert stopped.value.requeue == (number == signal.SIGUSR2)
    assert f"saved at step {stopped.value.step}; run the same command to resume" in capsys.readouterr().err
    assert signal.getsignal(number) == former
    assert not (tmp_path / "DONE").exists()
    assert train(tmp_path) == history(undisturbed)
    assert f"resumes at step {stopped.value.step} of 20" in capsys.readouterr().err


def test_a_checkpoint_that_cannot_be_written_is_one_line_and_the_one_before_it_serves(
    tmp_path: Path, train: Train, history: History, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoint.dcp.save

    def fill_the_disk(state: dict[str, Any], **options: Any) -> Any:
        if list((tmp_path / "checkpoints").glob("step-*")):
            raise CheckpointException("write failed", {0: (RuntimeError("unexpected pos 704 vs 598"), None)})
        return save(state, **options)

    with monkeypatch.context() as patched, pytest.raises(OSError, match=r"MiB are free on that disk.*resumes at"):
        patched.setattr(checkpoint.dcp, "save", fill_the_disk)
        train(tmp_path)
    assert not (tmp_path / "DONE").exists()
    assert train(tmp_path) == history(undisturbed)


def test_micro_batches_equal_the_big_batch(tmp_path: Path, train: Train, history: History, undisturbed: Path) -> None:
    small = train(tmp_path, tiny_config(micro_batch_size=1))
    for a, b in zip(small, history(undisturbed), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-6)
        assert a.get("samples") == b.get("samples")


@pytest.mark.parametrize(
    "option",
    [{"activation_checkpointing": True}, {"precision": "bf16"}, {"cfg_dropout": 1.0}, {"min_segment_ratio": 0.1}],
)
def test_options_run(option: dict[str, Any], tmp_path: Path, train: Train, history: History, undisturbed: Path) -> None:
    lines = train(tmp_path, tiny_config(**option))
    reference = history(undisturbed)
    if "activation_checkpointing" in option:
        assert lines == reference
    elif "precision" in option:
        assert 0 < abs(lines[0]["loss"] - reference[0]["loss"]) < 0.05
    else:
        assert lines[-1]["loss"] < lines[0]["loss"]


def test_model_dropout_resumes_exactly(tmp_path: Path, train: Train) -> None:
    config = tiny_config({"dropout": 0.2}, steps=6, checkpoint_every_steps=3)
    whole = train(tmp_path / "whole", config)
    train(tmp_path / "cut", config)
    (tmp_path / "cut/DONE").unlink()
    (tmp_path / "cut/checkpoints/step-00000006/.metadata").write_bytes(b"")
    assert train(tmp_path / "cut", config) == whole


@pytest.mark.parametrize("damage", ["flip", "cut", "manifest", "lost"])
def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_it_used(
    damage: str, tmp_path: Path, train: Train, history: History, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path)
    (tmp_path / "DONE").unlink()
    newest = tmp_path / "checkpoints/step-00000020"
    data = bytearray((newest / "__0_0.distcp").read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        (newest / "__0_0.distcp").write_bytes(data)
    elif damage == "cut":
        (newest / "__0_0.distcp").write_bytes(data[:-1])
    elif damage == "manifest":
        text = (newest / "manifest.json").read_text()
        (newest / "manifest.json").write_text(text.replace('"step": 20', '"step": 19'))
    else:
        (newest / "__0_0.distcp").unlink()
    (tmp_path / "checkpoints/.step-00000025").mkdir()
    assert train(tmp_path) == history(undisturbed)
    said = capsys.readouterr().err
    assert "checkpoint step-00000020 is put aside: " in said
    assert "resumes at step 15 of 20" in said
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "best-00000020",
        "step-00000015",
        "step-00000020",
    ]


def test_torn_history_is_mended(tmp_path: Path, train: Train, history: History, undisturbed: Path) -> None:
    train(tmp_path)
    (tmp_path / "DONE").unlink()
    with open(tmp_path / "history.jsonl", "a") as handle:
        handle.write('{"kind": "train", "st')
    assert train(tmp_path) == history(undisturbed)


def test_not_a_number_stops_before_any_weight_changes(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = step.sum_losses, []

    def poisoned(*args: Any) -> Losses:
        losses = real(*args)
        calls.append(losses)
        if len(calls) != 7:
            return losses
        return losses._replace(sums_BK=losses.sums_BK * torch.tensor([1.0, float("nan"), 1.0, 1.0])[:, None])

    monkeypatch.setattr(step, "sum_losses", poisoned)
    updates = count_updates(monkeypatch)
    with pytest.raises(NonFiniteError, match=r"step 7: the loss is not finite; process 0: tracks [0-9a-f]{32}\. No"):
        train(tmp_path)
    assert len(updates) == 6
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-00000005"]
    assert not (tmp_path / "LOCK").exists()


def test_a_gradient_that_is_no_number_stops_though_the_loss_is_one(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = step.sum_losses, []

    def poisoned(x_BSD: torch.Tensor, heads: list[torch.Tensor], *others: Any) -> Losses:
        losses = real(x_BSD, heads, *others)
        calls.append(losses)
        root = (heads[0] - heads[0].detach()).abs().sum().sqrt()  # 0, and its slope is not finite
        return losses._replace(total=losses.total + root) if len(calls) == 7 else losses

    monkeypatch.setattr(step, "sum_losses", poisoned)
    updates = count_updates(monkeypatch)
    with pytest.raises(
        NonFiniteError, match=r"step 7: the gradient norm is nan although every loss .* process 0: trac"
    ):
        train(tmp_path)
    assert len(updates) == 6


def count_updates(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per update of the weights."""
    real, updates = torch.optim.AdamW.step, list[int]()

    def update(optimizer: torch.optim.AdamW) -> None:
        updates.append(1)
        real(optimizer)

    monkeypatch.setattr(torch.optim.AdamW, "step", update)
    return updates


def test_another_config_in_the_same_folder_is_refused(tmp_path: Path, train: Train) -> None:
    train(tmp_path, tiny_config(steps=2))
    (tmp_path / "DONE").unlink()
    with pytest.raises(
        Refused, match=r"training.learning_rate was 0.003, is 0.001; give the old values, or another run"
    ):
        train(tmp_path, tiny_config(steps=2, learning_rate=0.001))


def test_a_run_from_before_a_key_was_there_goes_on(
    tmp_path: Path, train: Train, undisturbed: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`eps` plays a key that came with an upgrade between two starts."""
    shutil.copytree(undisturbed, tmp_path / "run")
    (tmp_path / "run/DONE").unlink()
    shutil.rmtree(tmp_path / "run/checkpoints/step-00000020")
    record = json.loads((tmp_path / "run/config.json").read_text())
    del record["training"]["eps"]
    (tmp_path / "run/config.json").write_text(json.dumps(record))
    with pytest.raises(Refused, match=r"training.eps was None, is 1e-08"):
        train(tmp_path / "run")
    metadata = MappingProxyType(added(before=1e-8))
    monkeypatch.setattr(TrainingConfig.__dataclass_fields__["eps"], "metadata", metadata)
    assert train(tmp_path / "run") == history(undisturbed)


def test_several_corpora_are_drawn_by_weight(tmp_path: Path) -> None:
    corpora = [write_corpus(tmp_path, "few", weight=3.0), write_corpus(tmp_path, "many", num_train=9)]
    manifests, indexes = [list(column) for column in zip(*corpora, strict=True)]
    run(tiny_config(steps=2), manifests=manifests, indexes=indexes, run_dir=tmp_path / "run")
    assert (tmp_path / "run/DONE").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"batch_size": 6, "micro_batch_size": 4},
            r"batch_size 6 is not a multiple of 4 = 1 processes x micro-batches of 4",
        ),
        ({"device": "cuda"}, "torch sees no GPU here; set it to auto or cpu"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, Any], message: str, tmp_path: Path, train: Train) -> None:
    if "device" in change and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(Refused, match=message):
        train(tmp_path, tiny_config(**change))


def test_an_empty_validation_split_is_refused(tmp_path: Path) -> None:
    folder, index = write_corpus(tmp_path, num_valid=0)
    with pytest.raises(ValueError, match=r"no track in the valid split of .*made: with too few groups"):
        run(tiny_config(), manifests=[folder], indexes=[index], run_dir=tmp_path / "run")


def test_segments_longer_than_every_track_are_said(
    tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, tiny_config(steps=1, segment_sec=8.0))
    assert "the longest track of the train split has 6.7 s, a segment 8.0 s" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # raised inside torch._dynamo
@pytest.mark.parametrize("activation_checkpointing", [False, True])
def test_layers_are_really_compiled_with_and_without_checkpointing(
    activation_checkpointing: bool,
    tmp_path: Path,
    train: Train,
    history: History,
    undisturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch._dynamo.reset()
    graphs = []

    def count(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: compiled(function, backend=count))
    lines = train(tmp_path, tiny_config(steps=1, compile=True, activation_checkpointing=activation_checkpointing))
    assert len(graphs) == 2, "one graph for training and one for validation serve all layers"
    assert lines[0]["loss"] == pytest.approx(history(undisturbed)[0]["loss"], abs=1e-6)
