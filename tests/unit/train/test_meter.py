"""What a step costs, and epochs."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import make_model
from token_corpus import SPEC, tiny_config

from musicgen_core.config.training import TrainingConfig
from musicgen_core.lm.flops import count_flops
from musicgen_core.train.meter import Meter, find_peak
from musicgen_core.train.passes import Passes
from musicgen_core.train.step import Objective, StepResult
from musicgen_core.util.atomic import read_jsonl

Train = Callable[..., list[dict[str, Any]]]


def test_flops_are_the_formula_at_the_shapes_seen() -> None:
    model = make_model()
    objective = Objective(model)
    meter = Meter(objective, model, TrainingConfig(), torch.device("cpu"))
    assert meter.peak_flops_per_sec is None
    codes_BKT = torch.zeros(2, 4, 10, dtype=torch.int64)
    sequence_BKS = torch.zeros(2, 4, 14, dtype=torch.int64)
    prepared = model.prepare([{"description": "a b c"}, None])
    length = prepared["description"].mask_BL.shape[1]
    expected = count_flops(model, 2, 14, length).training
    objective.train()
    with torch.no_grad():
        objective(sequence_BKS, codes_BKT, torch.ones(2, 10, dtype=torch.bool), prepared, torch.ones(4))
        assert meter.take_flops() == expected
        assert meter.take_flops() == 0
        objective.eval()
        objective(sequence_BKS, codes_BKT, torch.ones(2, 10, dtype=torch.bool), prepared, torch.ones(4))
    assert meter.take_flops() == 0, "validation is no training"
    assert meter.take_memory_mib() > 10


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989.5e12),
        ("NVIDIA H100 PCIe", "bf16", 756e12),
        ("NVIDIA H200", "fp32", 67e12),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312e12),
        ("NVIDIA A10", "bf16", 125e12),
        ("NVIDIA A10G", "bf16", None),
        ("NVIDIA L4", "bf16", 121e12),
        ("NVIDIA L40S", "bf16", 362e12),
        ("Some Other 4000", "bf16", None),
    ],
)
def test_peaks_by_name(name: str, precision: str, peak: float | None) -> None:
    assert find_peak(name, precision) == peak


def result(loss: float) -> StepResult:
    return StepResult(np.array([loss, loss + 1]), 2 * loss, 1e-3, False, False, False)


def test_an_epoch_is_one_pass_worth_of_samples_also_over_a_resume() -> None:
    """20 s in segments of 2 s are 10 samples: batches of 4 end an epoch at steps 3, 5, 8, 10."""

    def run(cut: int | None) -> list[dict[str, Any]]:
        passes, lines = Passes(20.0, 2.0, 4, None), []
        for step in range(1, 12):
            lines.append(passes.add(step, result(float(step))))
            if step == cut:
                passes = Passes(20.0, 2.0, 4, passes.state_dict())
        return [line for line in lines if line is not None]

    lines = run(None)
    assert [(line["step"], line["epoch"], line["num_steps"]) for line in lines] == [
        (3, 1, 3),
        (5, 2, 2),
        (8, 3, 3),
        (10, 4, 2),
    ]
    assert lines[0]["loss_per_codebook"] == [2.0, 3.0]
    assert lines[1]["loss"] == 5.0
    assert lines[1]["grad_norm"] == 9.0
    for cut in (3, 4, 6, 7):
        assert run(cut) == lines


def test_mfu_is_the_share_of_the_peak(tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Meter.__init__

    def with_peak(meter: Meter, *arguments: Any) -> None:
        real(meter, *arguments)
        meter.peak_flops_per_sec = 1e12

    monkeypatch.setattr(Meter, "__init__", with_peak)
    train(tmp_path, tiny_config(steps=3))
    lines = [line for line in read_jsonl(tmp_path / "history.jsonl") if line["kind"] == "train"]
    assert [line["mfu"] for line in lines] == [pytest.approx(line["flops_per_sec"] / 1e12) for line in lines]


def test_a_history_has_all_figures_and_epochs(tmp_path: Path, train: Train) -> None:
    train(tmp_path, tiny_config(steps=20))
    lines = read_jsonl(tmp_path / "history.jsonl")
    steps = [line for line in lines if line["kind"] == "train"]
    for line in steps:
        assert line["flops_per_sec"] > 0
        assert line["mfu"] is None
        assert line["memory_mib"] > 10
        assert line["checkpoint_stall_sec"] >= 0
        assert len(line["loss_per_codebook"]) == SPEC.num_codebooks
    assert sum(line["checkpoint_stall_sec"] for line in steps) > 0
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == list(range(1, len(epochs) + 1))
    first = epochs[0]
    assert first["num_steps"] == first["step"] > 1
    mean = sum(line["loss"] for line in steps[: first["step"]]) / first["step"]
    assert math.isclose(first["loss"], mean, rel_tol=1e-9)
