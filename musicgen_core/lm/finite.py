"""Logits and weights that are no numbers, named where they appear instead of becoming codes.

Legend: B batch, K codebooks, C cardinality.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from musicgen_core.util.fit import find_non_finite

EVERY_STEPS = 64
"""On a GPU reading a result waits for it; so many steps are judged at once."""


class FiniteLogits:
    """Watches the steps of one generation, at the cost of one maximum per step."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._waiting: list[tuple[int, Tensor]] = []

    def watch(self, logits_BKC: Tensor, step: int) -> None:
        """Raise ValueError that names the first step whose logits are not finite: at once on a CPU, soon on a GPU.

        A maximum is NaN where one of its logits is; minus infinity beside finite logits is allowed.
        """
        self._waiting.append((step, logits_BKC.amax()))
        if logits_BKC.device.type == "cpu" or len(self._waiting) >= EVERY_STEPS:
            self.settle()

    def settle(self) -> None:
        """Judge all steps that were watched."""
        steps, largest = zip(*self._waiting, strict=True) if self._waiting else ((), ())
        values = torch.stack(largest).tolist() if len(largest) > 1 else [one.item() for one in largest]
        bad = [step for step, value in zip(steps, values, strict=True) if not math.isfinite(value)]
        self._waiting.clear()
        if not bad:
            return
        names = find_non_finite(self._model.state_dict())
        if names:
            cause = f"so are the weights {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}"
            remedy = "take an earlier checkpoint, or export the run again"
        else:
            cause = "all weights are finite"
            remedy = "look for NaN in the conditions given, or generate in float32: 16 bits may overflow"
        raise ValueError(f"step {bad[0]} of the generation: logits are NaN or infinite; {cause}. Remedy: {remedy}")
