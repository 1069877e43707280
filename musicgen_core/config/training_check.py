"""What TrainingConfig's types do not say of its values."""

from __future__ import annotations

from musicgen_core.config.optimization import (
    CosineScheduleConfig,
    DAdaptAdamConfig,
    ExponentialScheduleConfig,
    MuonConfig,
    PolynomialScheduleConfig,
)
from musicgen_core.config.training import TrainingConfig


def check_optimization(training: TrainingConfig) -> None:
    """Raise ValueError, one line that begins with the key, for a value that optimizer or schedule cannot use."""
    optimizer, schedule, early = training.optimizer, training.schedule, training.early_stopping
    for name in ("eps", "weight_decay", "warmup_steps"):
        if getattr(training, name) < 0:
            raise ValueError(f"{name}: {getattr(training, name)} must be 0 or more")
    if training.max_grad_norm is not None and not training.max_grad_norm >= 0:
        raise ValueError(f"max_grad_norm: {training.max_grad_norm} must be above 0; null or 0 clips nothing")
    if not 0 <= training.lr_min_ratio <= 1:
        raise ValueError(f"lr_min_ratio: {training.lr_min_ratio} must lie between 0 and 1")
    if not all(0 <= beta < 1 for beta in training.betas):
        raise ValueError(f"betas: {list(training.betas)} must each be at least 0 and below 1")
    if isinstance(optimizer, DAdaptAdamConfig):
        if optimizer.initial_d <= 0:
            raise ValueError(f"optimizer.initial_d: {optimizer.initial_d} must be above 0")
        if optimizer.growth_rate is not None and optimizer.growth_rate < 1:
            raise ValueError(f"optimizer.growth_rate: {optimizer.growth_rate} must be at least 1; null: any growth")
    if isinstance(optimizer, MuonConfig):
        if not 0 <= optimizer.momentum < 1:
            raise ValueError(f"optimizer.momentum: {optimizer.momentum} must be at least 0 and below 1")
        if optimizer.num_iterations < 1:
            raise ValueError(f"optimizer.num_iterations: {optimizer.num_iterations} must be at least 1")
    if isinstance(schedule, CosineScheduleConfig) and schedule.cycle_length <= 0:
        raise ValueError(f"schedule.cycle_length: {schedule.cycle_length} must be above 0")
    if isinstance(schedule, PolynomialScheduleConfig) and schedule.power <= 0:
        raise ValueError(f"schedule.power: {schedule.power} must be above 0")
    if isinstance(schedule, ExponentialScheduleConfig) and not 0 < schedule.gamma <= 1:
        raise ValueError(f"schedule.gamma: {schedule.gamma} must lie in (0, 1]")
    if early is not None and early.patience < 1:
        raise ValueError(f"early_stopping.patience: {early.patience} must be at least 1")
    if early is not None and not early.min_delta >= 0:
        raise ValueError(f"early_stopping.min_delta: {early.min_delta} must be 0 or more")
