"""AdamW and its learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from musicgen_core.config.training import TrainingConfig


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Rate of the update that follows `step` finished ones; a pure function of the step.

    With peak L, warm-up W, total T and floor ratio r: L (n+1)/W for n < W, so that the first update moves and update
    W-1 is at the peak; then L (r + (1-r) (1 + cos(pi (n-W)/(T-W)))/2); L r from T on. With W >= T the warm-up is cut.
    """
    peak, warmup, total, floor = config.learning_rate, config.warmup_steps, config.steps, config.lr_min_ratio
    if step >= total:
        return peak * floor
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))))


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over what requires a gradient; matrices are decayed; norms, biases and embeddings are not."""
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim >= 2 and id(parameter) not in embeddings else kept).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.eps,
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
