"""The fused heads and cross-entropy against the plain ones, in value, in gradient and in what they keep."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pattern_strategies import patterns
from small_models import PATTERNS
from token_corpus import SPEC, tiny_config
from torch import Tensor

from musicgen_core.config.pattern import DelayPatternConfig, PatternConfig
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model
from musicgen_core.patterns.apply import predicting_steps
from musicgen_core.patterns.layout import Pattern, build_pattern
from musicgen_core.train import loss
from musicgen_core.train.loss import count_valid, sum_losses


def plain(
    x_BSD: Tensor, heads: list[Tensor], pattern: Pattern, codes_BKT: Tensor, mask_BT: Tensor, weights_K: Tensor
) -> tuple[Tensor, Tensor]:
    """The definition: all logits, then torch's cross-entropy of each valid code by itself."""
    step_KT, mask_KT = predicting_steps(pattern, x_BSD.shape[1], x_BSD.device)
    sums = torch.zeros(codes_BKT.shape[:2], dtype=torch.float64)
    for b in range(len(codes_BKT)):
        for k, head_CD in enumerate(heads):
            logits_SC = F.linear(x_BSD[b], head_CD).float()
            for t in (mask_KT[k] & mask_BT[b]).nonzero()[:, 0].tolist():
                sums[b, k] = sums[b, k] + F.cross_entropy(logits_SC[step_KT[k, t]], codes_BKT[b, k, t]).double()
    return (sums * weights_K).sum(), sums


def make_inputs(config: PatternConfig, num_frames: int, count: int = 4) -> tuple:
    """Two samples, codes out of range where there is no music, an input as large as LayerNorm's output."""
    torch.manual_seed(0)
    pattern = build_pattern(config, count, num_frames)
    mask_BT = torch.arange(num_frames) < torch.tensor([[num_frames], [max(1, num_frames // 2)]])
    codes_BKT = torch.where(mask_BT[:, None], torch.randint(0, 7, (2, count, num_frames)), 7)
    x_BSD = torch.randn(2, pattern.num_valid_steps, 8, requires_grad=True)
    heads = [torch.randn(7, 8, requires_grad=True) for _ in range(count)]
    return x_BSD, heads, pattern, codes_BKT, mask_BT, torch.tensor([0.5, 1.0, 2.0, 0.25][:count])


@settings(max_examples=25, deadline=None)
@given(drawn=patterns(4), num_frames=st.integers(1, 12), chunk=st.sampled_from([1, 7, 40, 1 << 20]))
def test_values_and_gradients_are_the_definition_s(
    drawn: tuple[PatternConfig, int], num_frames: int, chunk: int
) -> None:
    inputs = make_inputs(drawn[0], num_frames, drawn[1])
    before = loss.CHUNK_LOGITS["cpu"]
    loss.CHUNK_LOGITS["cpu"] = chunk
    try:
        found = sum_losses(*inputs)
    finally:
        loss.CHUNK_LOGITS["cpu"] = before
    total, sums_BK = plain(*inputs)
    torch.testing.assert_close(found.sums_BK.double(), sums_BK.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.total.double(), total, atol=1e-5, rtol=1e-5)
    assert not found.sums_BK.requires_grad
    leaves = [inputs[0], *inputs[1]]
    expected = torch.autograd.grad(3 * total, leaves, allow_unused=True, materialize_grads=True)
    for a, b in zip(torch.autograd.grad(3 * found.total, leaves), expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frozen", ["input", "heads"])
def test_what_is_frozen_gets_no_gradient(frozen: str) -> None:
    inputs = make_inputs(DelayPatternConfig(delays=(0, 1, 2, 3)), 6)
    total, _ = plain(*inputs)
    leaves = inputs[1] if frozen == "input" else [inputs[0]]
    expected = torch.autograd.grad(total, leaves)
    for tensor in [inputs[0]] if frozen == "input" else inputs[1]:
        tensor.requires_grad_(False)
    for a, b in zip(torch.autograd.grad(sum_losses(*inputs).total, leaves), expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_a_head_of_an_infinite_weight_shows() -> None:
    inputs = make_inputs(DelayPatternConfig(delays=(0, 1, 2, 3)), 6)
    with torch.no_grad():
        inputs[1][2][3, 3] = float("inf")
    losses = sum_losses(*inputs)
    assert torch.isfinite(losses.sums_BK).all(0).tolist() == [True, True, False, True]
    assert not torch.isfinite(losses.total)


def test_bf16_products_are_near_float32_s() -> None:
    inputs = make_inputs(DelayPatternConfig(delays=(0, 1, 2, 3)), 12)
    with torch.autocast("cpu", torch.bfloat16):
        rough = sum_losses(*inputs)
    exact = sum_losses(*inputs)
    assert rough.sums_BK.dtype == torch.float32
    torch.testing.assert_close(rough.total, exact.total, rtol=1e-2, atol=0)
    (rough_BSD,) = torch.autograd.grad(rough.total, [inputs[0]])
    (exact_BSD,) = torch.autograd.grad(exact.total, [inputs[0]])
    assert (rough_BSD - exact_BSD).abs().max() < 0.05 * exact_BSD.abs().max()


def kept_bytes(compute: Callable[[], Tensor]) -> int:
    """Bytes that autograd keeps for the backward pass, each storage once."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        compute()
    return sum(storages.values())


def test_no_logits_are_kept() -> None:
    """Kept: a gradient of the input and one of each head; the plain loss keeps logits in float32, more than once."""
    torch.manual_seed(0)
    batch, frames, card, dim = 4, 128, 512, 16
    pattern = build_pattern(DelayPatternConfig(delays=(0, 1, 2, 3)), 4, frames)
    x_BSD = torch.randn(batch, pattern.num_valid_steps, dim, requires_grad=True)
    heads = [torch.randn(card, dim, requires_grad=True) for _ in range(4)]
    codes_BKT, mask_BT = torch.randint(0, card, (batch, 4, frames)), torch.ones(batch, frames, dtype=torch.bool)
    logits_bytes = 4 * batch * 4 * frames * card

    def naive() -> Tensor:
        logits_BKSC = torch.stack([F.linear(x_BSD, head) for head in heads], dim=1)
        return F.cross_entropy(logits_BKSC[:, :, :frames].flatten(0, 2), codes_BKT.flatten())

    assert kept_bytes(naive) >= logits_bytes
    fused = kept_bytes(lambda: sum_losses(x_BSD, heads, pattern, codes_BKT, mask_BT, torch.ones(4)).total)
    assert fused == x_BSD.nbytes + sum(head.nbytes for head in heads)
    assert fused < logits_bytes / 10


def make_model(pattern: PatternConfig) -> LanguageModel:
    config = tiny_config({"pattern": pattern})
    model = build_model(config.model, config.conditioner, SPEC)
    initialize(model, 0)
    return model


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.kind)
def test_counts_are_those_of_the_model_s_own_mask(pattern: PatternConfig) -> None:
    model = make_model(pattern)
    num_valid_B = np.array([12, 0, 3, 7])
    mask_BT = torch.arange(12)[None] < torch.from_numpy(num_valid_B)[:, None]
    predictions = model.compute_predictions(torch.zeros(4, 4, 12, dtype=torch.int64), None)
    expected_K = (predictions.mask_BKT & mask_BT[:, None]).sum((0, 2)).double().clamp(min=1)
    assert torch.equal(count_valid(model.pattern(12), num_valid_B), expected_K)
