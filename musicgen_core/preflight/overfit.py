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

from musicgen_core.config.optimization import DAdaptAdamConfig
from musicgen_core.preflight.finding import Finding
from musicgen_core.preflight.trial import Trial
from musicgen_core.train.optim import list_warnings
from musicgen_core.util.log import progress

BELOW = 0.8
"""Of the batch's entropy: a loss below this share of it is memory, not counting."""

MAX_STEPS, RANGE_STEPS = 200, 30
FACTORS = (0.01, 0.1, 1.0, 10.0)
RISE = 0.5
"""Nats above its start that the loss may climb on the way."""

BETTER = 0.75
"""A lower rate that ends below this share of the run's own loss is better by far."""

SLOW = 0.25
"""Of the best fall among higher rates, below which a rate is low: where the fall just follows the rate it is 0.1."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Loss on the batch over RANGE_STEPS steps at one rate; infinite where training diverged."""

    learning_rate: float
    before: float
    highest: float
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
    t = trial.material.run.training
    rate = t.learning_rate
    if isinstance(t.optimizer, DAdaptAdamConfig):
        found_warnings = list_warnings(t)
        return Finding(
            check="learning rate",
            level="warning" if found_warnings else "ok",
            text="; ".join(found_warnings) or "dadapt_adam finds its own step size",
        )
    found = {}
    for factor in progress(FACTORS, "learning rates", len(FACTORS)):
        losses = [float(loss_K.mean()) for loss_K in trial.train(factor * rate, RANGE_STEPS)]
        sane = [loss if math.isfinite(loss) else math.inf for loss in losses]
        found[factor] = Range(learning_rate=factor * rate, before=sane[0], highest=max(sane), after=sane[-1])
    return judge_range(found, float(trial.entropy_K.mean()))


def judge_range(found: Mapping[float, Range], entropy: float) -> Finding:
    """`found` by multiple of the run's rate, 1.0 is among them; `entropy` of the batch's codes in nats.

    Far too high is a rate at which the loss climbs above its start, or ends at what counting codes gives, although a
    lower rate gets far below it.
    """
    own = found[1.0]
    table = ", ".join(f"{one.learning_rate:.1g}: {one.before:.2f} to {one.after:.2f}" for one in found.values())
    figures = {"ranges": [vars(one) for one in found.values()], "entropy": entropy}
    best = min((one for factor, one in found.items() if factor < 1), key=lambda one: one.after)
    climbs, beaten = own.highest > own.before + RISE, best.after < BETTER * own.after
    if climbs or beaten:
        state = f"the loss climbs to {own.highest:.2f}" if climbs else f"the loss ends at {own.after:.2f}"
        return Finding(
            check="learning rate",
            level="problem" if climbs or own.after > BELOW * entropy else "warning",
            text=f"learning rate too high: at {own.learning_rate:.3g} {state}, at {best.learning_rate:.3g} it ends at "
            f"{best.after:.2f} nats after {RANGE_STEPS} steps ({table})",
            remedy=f"set training.learning_rate near {best.learning_rate:.1g}",
            figures=figures,
        )
    higher = [one for factor, one in found.items() if factor > 1]
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
        text=f"{own.learning_rate:.3g} is sane (loss by rate, before and after {RANGE_STEPS} steps: {table})",
        figures=figures,
    )
