"""A number of metadata (tempo) as learned vectors at fixed values, interpolated between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from musicgen_core.conditioners.base import Conditioner, Prepared
from musicgen_core.config.condition import NumberConditionConfig


class NumberConditioner(Conditioner):
    """Row i stands for low * (high / low)^(i / (n - 1)); a number between two rows is their weighted mean."""

    def __init__(self, config: NumberConditionConfig, output_dim: int) -> None:
        if not 0 < config.low < config.high or config.num_bins < 2:
            raise ValueError(
                f"a number condition from {config.low} to {config.high} in {config.num_bins} bins: "
                "needs 0 < low < high and at least 2 bins"
            )
        super().__init__(config.dim, output_dim, max_length=1)
        self.config = config
        self.embed = nn.Embedding(config.num_bins, config.dim)

    def prepare(self, values: Sequence[Any]) -> Prepared:
        """Numbers, or strings that are; ValueError names one that is neither, or is not finite."""
        last = self.config.num_bins - 1
        scale = last / math.log(self.config.high / self.config.low)
        position_B1 = torch.zeros(len(values), 1)
        mask_B1 = torch.zeros(len(values), 1, dtype=torch.bool)
        for row, value in enumerate(values):
            if value is None:
                continue
            number = _as_number(value)
            clipped = min(max(number, self.config.low), self.config.high)
            position_B1[row] = scale * math.log(clipped / self.config.low)
            mask_B1[row] = True
        floor_B1 = position_B1.floor().clamp(max=last - 1)
        return Prepared(floor_B1.long(), mask_B1, (position_B1 - floor_B1)[..., None])

    def encode(self, prepared: Prepared) -> Tensor:
        assert prepared.features_BLE is not None
        low_B1E, high_B1E = self.embed(prepared.ids_BL), self.embed(prepared.ids_BL + 1)
        return torch.lerp(low_B1E, high_B1E, prepared.features_BLE.to(low_B1E.dtype))


def _as_number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is no number; a number condition takes one, or none") from None
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not finite; a number condition takes a finite number, or none")
    return number
