"""Average of the weights over training, each process on its own shards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor


class Ema:
    """Bias-corrected exponential average: count <- count * decay + 1; average <- average + (value - average) / count.

    AudioCraft's rule. The first update copies the weights, so the average never remembers the initialisation. Works on
    local shards and needs no communication. Raises ValueError for a state entry that is not floating point.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.count = 0.0
        self._model = model
        for name, value in model.state_dict().items():
            if not value.is_floating_point():
                raise ValueError(f"{name} is {value.dtype}: only floating-point state can be averaged")
        self._average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        self.count = self.count * self.decay + 1
        torch._foreach_lerp_(_local(self._average), self._live(), 1 / self.count)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages under the model's names; tensors, not copies. `count` is kept by the caller."""
        return self._average

    @contextmanager
    def swapped_in(self, outer: nn.Module) -> Iterator[None]:
        """Within the block the model holds the averages; its own weights come back after it, bit for bit.

        `outer` is the outermost module: every sharded module in it drops gathered weights that are out of date.
        """
        self._swap(outer)
        try:
            yield
        finally:
            self._swap(outer)

    @torch.no_grad()
    def _swap(self, outer: nn.Module) -> None:
        for average, live in zip(_local(self._average), self._live(), strict=True):
            held = live.clone()
            live.copy_(average)
            average.copy_(held)
        for module in outer.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def _live(self) -> list[Tensor]:
        """Asked anew each time: FSDP may move its shards to other storage."""
        return _local(self._model.state_dict())


def _local(tensors: dict[str, Tensor]) -> list[Tensor]:
    return [t.to_local() if isinstance(t, DTensor) else t for t in tensors.values()]
