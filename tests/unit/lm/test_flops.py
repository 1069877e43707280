"""The formula equals torch's own counter, and the figures of MusicGen's sizes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_models import CODEC, CONDITIONER, MODEL, make_model, random_condition, random_sequence
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from musicgen_core.conditioners.base import Condition
from musicgen_core.config.model import LutConditionerConfig, ModelConfig
from musicgen_core.lm.flops import count_flops
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model


def counted(model: LanguageModel, batch: int, num_steps: int, condition: Condition) -> int:
    sequence = random_sequence(model, batch, num_steps)
    # the counter sees the products of the plain kernel; it has no entry for the CPU's fused one
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(sequence, condition)
    return counter.get_total_flops()


@pytest.mark.parametrize(("batch", "num_steps", "length"), [(1, 20, 1), (3, 33, 7)])
def test_cross_attention(batch: int, num_steps: int, length: int) -> None:
    model = make_model()
    condition = random_condition(model, [length] * batch)
    assert counted(model, batch, num_steps, condition) == count_flops(model, batch, num_steps, length).forward


def test_prefix() -> None:
    words = replace(CONDITIONER, fusion="prepend")
    model = build_model(MODEL, words, replace(CODEC, num_codebooks=8))
    initialize(model, 0)
    condition = random_condition(model, [5, 5])
    assert counted(model, 2, 12, condition) == count_flops(model, 2, 12, 0, num_prefix=5).forward


@pytest.mark.parametrize(
    ("size", "dense_gflops", "forward_tflops"),
    [("small", 0.723, 1.199), ("medium", 3.202, 5.147), ("large", 5.681, 8.983)],
)
def test_released_sizes(size: str, dense_gflops: float, forward_tflops: float) -> None:
    """30 s with 20 tokens of text; the pass with a causal kernel's half of the self-attention."""
    codec = replace(CODEC, card=2048)
    model = build_model(ModelConfig(size=size), LutConditionerConfig(), codec, device="meta")  # type: ignore[arg-type]
    flops = count_flops(model, 1, 1501, 20)
    assert flops.linear / 1501 / 1e9 == pytest.approx(dense_gflops, abs=6e-4)
    dim, _, num_layers = model.config.shape
    causal = flops.forward - 2 * num_layers * dim * 1501**2
    assert causal / 1e12 == pytest.approx(forward_tflops, abs=1e-3)
    assert flops.training == 3 * causal
    if size == "small":
        assert flops.forward == 1_309_295_214_592


def test_log_and_benchmark_count_alike() -> None:
    """One formula: neither multiplies what it counts itself, nor has a table of peaks of its own."""
    for path in ("benchmarks/bench_gpu.py", "musicgen_core/train/meter.py", "musicgen_core/tools/bench_loader.py"):
        text = (Path(__file__).parents[3] / path).read_text(encoding="utf-8")
        assert ".training" in text.partition("count_flops(")[2], path
        assert ".forward" not in text, path
    assert "find_peak(" in (Path(__file__).parents[3] / "benchmarks/bench_gpu.py").read_text(encoding="utf-8")
