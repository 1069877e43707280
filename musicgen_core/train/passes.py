"""Means over epochs. Samples are drawn, so no epoch sees every segment once; an epoch is one pass's worth of samples:

epoch_samples = music of the training split in seconds / length of a segment in seconds, at least 1
finished epochs after n steps = floor(n * batch_size / epoch_samples)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from musicgen_core.train.step import StepResult


class Passes:
    """Adds up steps; gives a line of the history whenever an epoch ends. Its state is part of a checkpoint."""

    def __init__(self, total_sec: float, segment_sec: float, batch_size: int, state: dict[str, Any] | None) -> None:
        self.epoch_samples = max(1, round(total_sec / segment_sec))
        self._batch_size = batch_size
        self._state = state or {"num_steps": 0, "loss_per_codebook": 0.0, "grad_norm": 0.0}

    def add(self, step: int, result: StepResult) -> dict[str, Any] | None:
        """After step number `step`, counted from 1 -> {kind: epoch, ...} when it ends an epoch."""
        s = self._state
        s["num_steps"] += 1
        s["loss_per_codebook"] = (np.asarray(s["loss_per_codebook"]) + result.loss_K).tolist()
        s["grad_norm"] += result.grad_norm
        finished = self._count(step)
        if finished == self._count(step - 1):
            return None
        loss_K = np.asarray(s["loss_per_codebook"]) / s["num_steps"]
        line = {
            "kind": "epoch",
            "step": step,
            "epoch": finished,
            "num_steps": s["num_steps"],
            "loss": float(loss_K.mean()),
            "loss_per_codebook": loss_K.tolist(),
            "grad_norm": s["grad_norm"] / s["num_steps"],
            "lr": result.learning_rate,
        }
        self._state = {"num_steps": 0, "loss_per_codebook": 0.0, "grad_norm": 0.0}
        return line

    def state_dict(self) -> dict[str, Any]:
        """JSON, exact."""
        return dict(self._state)

    def _count(self, steps: int) -> int:
        return steps * self._batch_size // self.epoch_samples
