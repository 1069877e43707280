"""Keys of `training` that say how a run is computed, not what is computed. They may change from one start of a run to
the next, on another machine say, and the run stays the same run: signatures do not see them, and a resume accepts them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from musicgen_core.config.training import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Manner:
    """Of one key."""

    signed: Any
    """What every signature holds of it: its default when runs were first named. Never changes."""

    rounds: bool
    """Another value adds numbers in another order, or computes them by other kernels: the last bits may differ."""

    reason: str
    """Why it is no part of what the run is."""


EXECUTION: dict[str, Manner] = {
    "micro_batch_size": Manner(signed=None, rounds=True, reason="gradients of parts are summed to the same batch's"),
    "sharding": Manner(signed="full", rounds=True, reason="where weights lie; checkpoints are cut anew for any"),
    "activation_checkpointing": Manner(signed=False, rounds=True, reason="the same activations, computed twice"),
    "compile": Manner(signed=False, rounds=True, reason="the same operations, fused"),
    "device": Manner(signed="auto", rounds=True, reason="`auto` takes what a machine has at every start anyway"),
    "log_every_steps": Manner(signed=10, rounds=False, reason="what is written down of a step changes none"),
    "checkpoint_every_steps": Manner(signed=100, rounds=False, reason="saving reads the state and leaves it"),
    "keep_last": Manner(signed=2, rounds=False, reason="which saved sets stay on disk"),
}


def without_execution(training: TrainingConfig) -> TrainingConfig:
    """The same training, computed in the one way that signatures know."""
    return replace(training, **{key: manner.signed for key, manner in EXECUTION.items()})


def pick_execution(training: TrainingConfig) -> dict[str, Any]:
    """How it is computed, by key."""
    return {key: getattr(training, key) for key in EXECUTION}


def describe_changes(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """`sharding full -> none; ...` of two plain `training` sections, and what that does; None without a change."""
    changed = [key for key in EXECUTION if key in before and before[key] != now[key]]
    if not changed:
        return None
    text = "; ".join(f"{key} {_shown(before[key])} -> {_shown(now[key])}" for key in changed)
    if any(EXECUTION[key].rounds for key in changed):
        return f"{text} (the same run; numbers may differ in their last bits from here on)"
    return f"{text} (the same run; no number depends on it)"


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower()
