"""The learning rate of each step: a pure function of the step, so that a resume needs no state."""

from __future__ import annotations

import math

from musicgen_core.config.optimization import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    ExponentialScheduleConfig,
    InverseSqrtScheduleConfig,
    PolynomialScheduleConfig,
)
from musicgen_core.config.training import TrainingConfig

ENDLESS = (ConstantScheduleConfig, InverseSqrtScheduleConfig, ExponentialScheduleConfig)
"""Schedules that do not depend on the number of steps: more steps change nothing of what was."""


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Rate of the update that follows `step` finished ones.

    With peak L, warm-up W, total T, floor r and progress x = (n-W)/(T-W): L (n+1)/W for n < W, so that the first update
    moves and update W-1 is at the peak; then L f(n); L r from T on, where the schedule ends. With W >= T the warm-up is
    cut. f(n), as in AudioCraft's optim modules but for the warm-up, which starts at 0 there:
    cosine r + (1-r) (1 + cos(pi x / cycle_length)) / 2; linear r + (1-r) (1-x); polynomial r + (1-r) (1-x)^power;
    constant 1; inverse_sqrt max(r, sqrt(max(1, W) / (n+1))); exponential max(r, gamma^(n-W)).
    """
    peak, warmup, total, floor = config.learning_rate, config.warmup_steps, config.steps, config.lr_min_ratio
    schedule = config.schedule
    if step >= total and not isinstance(schedule, ENDLESS):
        return peak * floor
    if step < warmup:
        return peak * (step + 1) / warmup
    if isinstance(schedule, ConstantScheduleConfig):
        return peak
    if isinstance(schedule, InverseSqrtScheduleConfig):
        return peak * max(floor, math.sqrt(max(1, warmup) / (step + 1)))
    if isinstance(schedule, ExponentialScheduleConfig):
        return peak * max(floor, schedule.gamma ** (step - warmup))
    if isinstance(schedule, CosineScheduleConfig):
        angle = math.pi * (step - warmup) / (total - warmup) / schedule.cycle_length
        return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(angle)))
    power = schedule.power if isinstance(schedule, PolynomialScheduleConfig) else 1.0
    return peak * (floor + (1 - floor) * (1 - (step - warmup) / (total - warmup)) ** power)
