"""Can the trainer learn one batch by heart, and is its learning rate sane?

A model that cannot push the loss on one fixed batch below the entropy of that batch's own codes has learned less than
how often each code occurs: something between loss, gradient and update is broken, or the learning rate is far off. A
short range test (after Smith 2017, arXiv 1506.01186) then says which way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from musicgen_core.preflight.finding import Finding
from musicgen_core.preflight.trial import Trial
from musicgen_core.util.log import progress

BELOW = 0.9
"""Of the batch's entropy: a loss below this share of it is memory, not counting."""

MAX_STEPS, RANGE_STEPS = 200, 30
FACTORS = (0.01, 0.1, 1.0, 10.0)
HALF = 0.5
"""Of the best fall among lower rates, below which a rate is too high."""

SLOW = 0.1
"""Of the best fall among higher rates, below which a rate is too low."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Loss before and after RANGE_STEPS steps at one rate; `after` is infinite where training diverged."""

    learning_rate: float
    before: float
    after: float

    @property
    def fall(self) -> float:
        return self.before - self.after


def check_overfit(trial: Trial) -> Finding:
    """Train on the batch at the run's learning rate until the loss is clearly below its entropy."""
    rate, entropy = trial.material.run.training.learning_rate, float(trial.entropy_K.mean())
    losses: list[float] = []
    for loss_K in progress(trial.train(rate, MAX_STEPS), "overfitting one batch", MAX_STEPS):
        losses.append(float(loss_K.mean()))
        if losses[-1] < BELOW * entropy:
            break
    low, steps = (float(np.nanmin(losses)) if np.isfinite(losses).any() else math.inf), len(losses)
    model = "a tiny model in place of the run's own" if trial.stand_in else "the model"
    what = (
        f"{model} fell from {losses[0]:.2f} to {low:.2f} nats in {steps} steps on one batch of "
        f"{len(trial.batch.tracks)} segments of {trial.num_frames} frames, whose codes alone have {entropy:.2f}"
    )
    figures = {"losses": losses, "entropy": entropy, "stand_in": trial.stand_in}
    if low < BELOW * entropy:
        return Finding(check="one batch", level="ok", text=what, figures=figures)
    return Finding(
        check="one batch",
        level="problem",
        text=f"cannot learn one batch by heart: {what}",
        remedy="see the line `learning rate`",
        figures=figures,
    )


def check_learning_rate(trial: Trial) -> Finding:
    """Short trainings at the run's rate, below and above it."""
    rate = trial.material.run.training.learning_rate
    found = {}
    for factor in progress(FACTORS, "learning rates", len(FACTORS)):
        losses = [float(loss_K.mean()) for loss_K in trial.train(factor * rate, RANGE_STEPS)]
        found[factor] = Range(
            learning_rate=factor * rate, before=losses[0], after=losses[-1] if math.isfinite(losses[-1]) else math.inf
        )
    return judge_range(found)


def judge_range(found: Mapping[float, Range]) -> Finding:
    """`found` by multiple of the run's rate; 1.0 is among them."""
    own = found[1.0]
    table = ", ".join(f"{one.learning_rate:.1g}: {one.before:.2f} -> {one.after:.2f}" for one in found.values())
    figures = {"ranges": [(one.learning_rate, one.before, one.after) for one in found.values()]}
    lower = [one for factor, one in found.items() if factor < 1]
    higher = [one for factor, one in found.items() if factor > 1]
    best = max(lower, key=lambda one: one.fall)
    if own.fall < HALF * best.fall or own.fall <= 0:
        state = "the training diverges" if own.fall <= 0 else f"the loss falls by {own.fall:.2f} only"
        return Finding(
            check="learning rate",
            level="problem",
            text=f"learning rate too high: at {own.learning_rate:.3g} {state}, at {best.learning_rate:.3g} it falls by "
            f"{best.fall:.2f} nats in {RANGE_STEPS} steps ({table})",
            remedy=f"set training.learning_rate near {best.learning_rate:.1g}",
            figures=figures,
        )
    fastest = max(higher, key=lambda one: one.fall)
    if own.fall < SLOW * fastest.fall:
        return Finding(
            check="learning rate",
            level="warning",
            text=f"learning rate low: at {own.learning_rate:.3g} the loss falls by {own.fall:.2f} nats in "
            f"{RANGE_STEPS} steps, at {fastest.learning_rate:.3g} by {fastest.fall:.2f} ({table})",
            remedy="fine for trained weights; from scratch raise training.learning_rate",
            figures=figures,
        )
    return Finding(
        check="learning rate",
        level="ok",
        text=f"{own.learning_rate:.3g} is sane (rate: loss before -> after {RANGE_STEPS} steps; {table})",
        figures=figures,
    )
