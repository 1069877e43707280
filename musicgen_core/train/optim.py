"""The optimizer of a run: which weights it moves, in which groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from musicgen_core.config.optimization import DAdaptAdamConfig, LionConfig, MuonConfig
from musicgen_core.config.training import TrainingConfig
from musicgen_core.train.dadapt import DAdaptAdam
from musicgen_core.train.lion import Lion
from musicgen_core.train.muon import Muon

HIDDEN = "transformer.layers."


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Over what requires a gradient; matrices are decayed; norms, biases and embeddings are not."""
    optimizer = config.optimizer
    common: dict[str, Any] = {"lr": config.learning_rate, "betas": config.betas, "weight_decay": config.weight_decay}
    if isinstance(optimizer, MuonConfig):
        return Muon(
            _groups(model, config, hidden_apart=True),
            **common,
            eps=config.eps,
            momentum=optimizer.momentum,
            num_iterations=optimizer.num_iterations,
        )
    groups = _groups(model, config)
    if isinstance(optimizer, LionConfig):
        return Lion(groups, **common)
    if isinstance(optimizer, DAdaptAdamConfig):
        return DAdaptAdam(
            groups, **common, eps=config.eps, initial_d=optimizer.initial_d, growth_rate=optimizer.growth_rate
        )
    return torch.optim.AdamW(groups, **common, eps=config.eps, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def effective_rate(optimizer: torch.optim.Optimizer) -> float:
    """The learning rate of the next update; with D-Adaptation times the step size that it has found."""
    group = optimizer.param_groups[0]
    return group["lr"] * group.get("d", 1.0)


def list_warnings(config: TrainingConfig) -> list[str]:
    """What is allowed and is hardly meant, one line each."""
    found = []
    if config.warmup_steps >= config.steps:
        found.append(
            f"training.warmup_steps {config.warmup_steps} >= training.steps {config.steps}: the learning rate never "
            "comes down from its warm-up"
        )
    if isinstance(config.optimizer, DAdaptAdamConfig) and not 0.1 <= config.learning_rate <= 10:
        found.append(
            f"training.learning_rate {config.learning_rate:g} is a factor of the step size that dadapt_adam finds "
            "itself: it is meant to be about 1"
        )
    return found


def _groups(model: nn.Module, config: TrainingConfig, hidden_apart: bool = False) -> list[dict[str, Any]]:
    """Groups that are not empty: decayed, not decayed, and for Muon its matrices, the fused ones by themselves."""
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    hidden: list[nn.Parameter] = []
    fused: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            if hidden_apart and HIDDEN in name and parameter.ndim == 2:
                (fused if name.endswith("in_proj_weight") else hidden).append(parameter)
            else:
                (decayed if parameter.ndim >= 2 and id(parameter) not in embeddings else kept).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": kept, "weight_decay": 0.0},
        {"params": hidden, "weight_decay": config.weight_decay, "parts": 1},
        {"params": fused, "weight_decay": config.weight_decay, "parts": 3},
    ]
    return [group for group in groups if group["params"]]
