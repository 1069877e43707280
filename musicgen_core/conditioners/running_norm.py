"""Batch normalisation (arXiv 1502.03167) by the statistics of the steps before this one.

A batch's own statistics would depend on micro-batches and processes. These move once per optimizer step, by what all of
them saw together, as the codebooks behind them do. No scale and no shift are learned, as in MusicGen-Style.

Legend: B batch, L positions, M vectors, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

EPSILON = 1e-5


class RunningNorm(nn.Module):
    """Brings each feature to mean 0 and variance 1. The buffers' names are those of torch's BatchNorm1d."""

    running_mean: Tensor
    running_var: Tensor
    inited: Tensor

    def __init__(self, dim: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))
        self.register_buffer("inited", torch.zeros(1))
        self.momentum = momentum
        self._sums: Tensor | None = None

    def reset(self) -> None:
        """Nothing learnt: what a model starts from."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.inited.zero_()

    def is_ready(self) -> bool:
        return bool(self.inited > 0)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """float32. What is True in the mask teaches, when in training, at the next `learn`."""
        x_BLD = x_BLD.float()
        if self.training:
            x_MD = x_BLD.detach()[mask_BL].double()
            count = torch.full((1,), len(x_MD), dtype=torch.float64, device=x_MD.device)
            sums = torch.cat([count, x_MD.sum(0), x_MD.square().sum(0)])
            self._sums = sums if self._sums is None else self._sums + sums
        return (x_BLD - self.running_mean) * (self.running_var + EPSILON).rsqrt()

    @torch.no_grad()
    def learn(self, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        """Move by what was seen since the last call; the first time, all the way. A collective call."""
        dim = len(self.running_mean)
        sums = self._sums
        if sums is None:
            sums = torch.zeros(1 + 2 * dim, dtype=torch.float64, device=self.running_mean.device)
        self._sums = None
        count, sum_D, square_D = sum_over_processes(sums).split([1, dim, dim])
        if not count > 0:
            return
        mean_D = sum_D / count
        variance_D = (square_D / count - mean_D.square()).clamp_min(0)
        share = self.momentum if self.is_ready() else 1.0
        self.running_mean.lerp_(mean_D.float(), share)
        self.running_var.lerp_(variance_D.float(), share)
        self.inited.fill_(1)
