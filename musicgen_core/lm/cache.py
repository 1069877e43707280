"""Keys and values kept between steps of generation, in buffers that are allocated once.

Legend: B batch, H heads, S steps, L condition length, d head width.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class LayerCache:
    """Keys and values of one layer: those of past steps, and those of the condition, projected once."""

    def __init__(self, max_steps: int) -> None:
        self.max_steps = max_steps
        self.both_2BHSd: Tensor | None = None
        """Keys, then values."""

        self.cross: tuple[Tensor, Tensor] | None = None

    def append(self, keys_BHSd: Tensor, values_BHSd: Tensor, offset: int) -> tuple[Tensor, Tensor]:
        """Store new steps at `offset`; return all steps so far."""
        end = offset + keys_BHSd.shape[2]
        assert end <= self.max_steps
        if self.both_2BHSd is None:
            batch, heads, _, width = keys_BHSd.shape
            self.both_2BHSd = keys_BHSd.new_empty(2, batch, heads, self.max_steps, width)
        self.both_2BHSd[0, :, :, offset:end] = keys_BHSd
        self.both_2BHSd[1, :, :, offset:end] = values_BHSd
        keys, values = self.both_2BHSd[:, :, :, :end].unbind(0)
        return keys, values

    def condition(self, project: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Keys and values of the condition, each [B, H, L, d]; `project` runs at the first call only."""
        if self.cross is None:
            self.cross = project()
        return self.cross


class Cache:
    """State of one batch that is being generated. The condition of the first call holds for all."""

    def __init__(self, num_layers: int, max_steps: int, num_valid_steps: int | None = None) -> None:
        """max_steps: prefix and codes; num_valid_steps: what a stretched condition is stretched over."""
        self.layers = [LayerCache(max_steps) for _ in range(num_layers)]
        self.max_steps = max_steps
        self.num_valid_steps = num_valid_steps or max_steps
        self.num_steps = 0
        self.num_codes_steps = 0
