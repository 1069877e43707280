"""How a run is kept, guarded and shown. Nothing here changes a weight, so nothing here ever makes a run stale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class UpkeepConfig:
    """Of all runs. May be changed between two starts of a run, which then goes on."""

    checkpoint_every_min: float | None = None
    """Also save after this many minutes without a checkpoint; null: by training.checkpoint_every_steps alone."""

    keep_every_steps: int | None = None
    """Also save at multiples of this many steps, and keep these checkpoints for good; null: the newest ones only."""

    stall_limit_sec: float = 600.0
    """A process that makes no progress within a step, a validation or a save for this long ends the run, with its
    stack and what it was at. A run resumes at its last checkpoint. Longer than the slowest compilation of a step."""

    sinks: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard",)
    """Where curves go besides history.jsonl. `wandb` writes offline files only (`wandb sync` sends them, if you will);
    it needs the extra `track`."""
