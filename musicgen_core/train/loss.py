"""Cross-entropy per codebook, together with the heads, so that the logits never exist all at once.

The loss of a batch is the mean over codebooks of (sum of cross-entropy over valid codes / number of valid codes), where
both sums run over the whole global batch. So it depends neither on the number of processes nor on micro-batches.

Logits are by far the largest tensor of a step: 30 s of 4 codebooks of 2,048 are 49 MB per sample in float32, and
autograd would keep them three times over. Here a few rows at a time go through a head; their gradient, softmax minus
one at the code, is at once multiplied back. What is kept is one gradient of the heads' input and one of each head's
weight. No product is done twice. (The idea is Liger's fused linear cross-entropy, arXiv 2410.10989.)

Legend: B batch, K codebooks, T frames, S steps, C cardinality, D width, N rows of one codebook, R rows of one chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from musicgen_core.patterns.apply import predicting_steps
from musicgen_core.patterns.layout import Pattern

CHUNK_LOGITS = {"cpu": 1 << 20, "cuda": 1 << 25}
"""Logits that exist at once: on the CPU what stays in its cache, on a GPU what fills it."""


class Losses(NamedTuple):
    """Of a batch, or of a part of it."""

    total: Tensor
    """Sum over samples and codebooks of `sums_BK` times the codebook's weight: what the backward pass starts from."""

    sums_BK: Tensor
    """Cross-entropy in nats summed over the valid frames of each sample, float32, without a gradient."""


def sum_losses(
    x_BSD: Tensor,
    heads: Sequence[Tensor],
    pattern: Pattern,
    codes_BKT: Tensor,
    mask_BT: Tensor,
    weights_K: Tensor,
) -> Losses:
    """Losses of the codes that x_BSD, what the heads are given, predicts by the `heads`' weights [C, D].

    mask_BT: the frame is music and no padding; codes may be out of range elsewhere. Products run in autocast's type,
    softmax and sums in float32.
    """
    batch, steps, _ = x_BSD.shape
    step_KT, _ = predicting_steps(pattern, steps, x_BSD.device)
    first_B1 = torch.arange(batch, device=x_BSD.device)[:, None] * steps
    rows, targets, valid = [], [], []
    # steps ascend with frames, so a sequence cut short holds the first codes of each codebook
    counts = (pattern.step_KT < steps).sum(axis=1).tolist()
    for k, count in enumerate(counts):
        rows.append((first_B1 + step_KT[k, :count]).flatten())
        mask_BN = mask_BT[:, :count]
        targets.append(codes_BKT[:, k, :count].where(mask_BN, 0).flatten())
        valid.append(mask_BN.flatten())
    total, *losses = _HeadLoss.apply(
        x_BSD.flatten(0, 1), rows, targets, valid, weights_K, torch.is_grad_enabled(), *heads
    )
    sums = [losses_N.view(batch, -1).sum(1) for losses_N in losses]
    return Losses(total, torch.stack(sums, dim=1))


class _HeadLoss(torch.autograd.Function):
    """Heads, cross-entropy and both of their backward passes."""

    @staticmethod
    def forward(
        ctx: Any,
        x_MD: Tensor,
        rows: list[Tensor],
        targets: list[Tensor],
        valid: list[Tensor],
        weights_K: Tensor,
        differentiable: bool,
        *heads: Tensor,
    ) -> tuple[Tensor, ...]:
        kind = x_MD.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x_MD.dtype
        needs_x, *needs_heads = [differentiable and ctx.needs_input_grad[i] for i in (0, *range(6, 6 + len(heads)))]
        grad_MD = torch.zeros_like(x_MD, dtype=torch.float32) if needs_x else None
        grads: list[Tensor | None] = []
        losses = []
        with torch.autocast(kind, enabled=False):
            x_MD = x_MD.to(dtype)
            for k, head_CD in enumerate(heads):
                head_CD = head_CD.to(dtype)
                grad_CD = torch.zeros_like(head_CD, dtype=torch.float32) if needs_heads[k] else None
                size = max(1, CHUNK_LOGITS[kind] // len(head_CD))
                chunks = zip(rows[k].split(size), targets[k].split(size), valid[k].split(size), strict=True)
                parts = [_chunk(x_MD, head_CD, r, t, v, weights_K[k], grad_MD, grad_CD) for r, t, v in chunks]
                losses.append(torch.cat(parts))
                grads.append(grad_CD)
        ctx.save_for_backward(grad_MD, *grads)
        ctx.mark_non_differentiable(*losses)
        total = (torch.stack([losses_N.sum() for losses_N in losses]) * weights_K).sum()
        return total, *losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *ignored: Tensor) -> tuple[Tensor | None, ...]:
        grad_MD, *grads = [None if kept is None else kept.mul_(grad) for kept in ctx.saved_tensors]
        return grad_MD, *[None] * 5, *grads


def _chunk(
    x_MD: Tensor,
    head_CD: Tensor,
    rows_R: Tensor,
    targets_R: Tensor,
    valid_R: Tensor,
    weight: Tensor,
    grad_MD: Tensor | None,
    grad_CD: Tensor | None,
) -> Tensor:
    """Losses of some rows; what their gradient gives to the input and to the head is added in place."""
    input_RD = x_MD.index_select(0, rows_R)
    logits_RC = torch.mm(input_RD, head_CD.t()).float()
    log_sum_R = logits_RC.logsumexp(1)
    losses_R = (log_sum_R - logits_RC.gather(1, targets_R[:, None])[:, 0]).masked_fill_(~valid_R, 0.0)
    if grad_MD is None and grad_CD is None:
        return losses_R
    scale_R1 = (valid_R * weight)[:, None]
    slope_RC = logits_RC.sub_(log_sum_R[:, None]).exp_().mul_(scale_R1).scatter_add_(1, targets_R[:, None], -scale_R1)
    slope_RC = slope_RC.to(head_CD.dtype)
    if grad_MD is not None:
        grad_MD.index_add_(0, rows_R, torch.mm(slope_RC, head_CD).float())
    if grad_CD is not None:
        if grad_CD.dtype == head_CD.dtype:
            grad_CD.addmm_(slope_RC.t(), input_RD)
        else:
            grad_CD.add_(torch.mm(slope_RC.t(), input_RD))
    return losses_R


def count_masked(pattern: Pattern, mask_BT: Tensor) -> Tensor:
    """The same of one process's samples whose frames are taken out one by one, mask_BT bool -> float64 [K], from 0."""
    frames_T = mask_BT.sum(0).double().cpu()
    predicted_KT = torch.from_numpy(pattern.step_KT < pattern.num_valid_steps)
    return (predicted_KT * frames_T).sum(1)


def count_valid(pattern: Pattern, num_valid_B: np.ndarray) -> Tensor:
    """Codes with a loss in each codebook, for samples with these numbers of valid frames -> float64 [K], at least 1.

    A code has a loss when its frame is valid and the pattern, cut for training, predicts it.
    """
    mask_KT = pattern.step_KT < pattern.num_valid_steps
    upto_KT = np.concatenate([np.zeros((len(mask_KT), 1)), np.cumsum(mask_KT, axis=1)], axis=1)
    return torch.from_numpy(np.maximum(upto_KT[:, num_valid_B].sum(axis=1), 1.0))
