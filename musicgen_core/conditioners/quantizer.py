"""Residual vector quantisation of a condition: it lets a few bits per vector through (arXiv 2107.03312, section III-C).

Codebooks are no parameters: they follow the exponential mean of the vectors that chose them (arXiv 1711.00937, appendix
A.1), and gradients pass straight through. Unlike AudioCraft's they move once per optimizer step, by what all
micro-batches and processes saw together, so that the result depends on neither; vectors of samples without a value do
not count; new and dead entries are drawn from a normal distribution with the mean and deviation of the level's input, a
function of (step, level), in place of k-means and of vectors of one process's batch.

Legend: B batch, L positions, M vectors, N entries, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

EPSILON = 1e-5


class Codebook(nn.Module):
    """One level. The buffers' names are those of AudioCraft's (and EnCodec's) EuclideanCodebook."""

    inited: Tensor
    cluster_size: Tensor
    embed: Tensor
    embed_avg: Tensor

    def __init__(self, dim: int, num_entries: int) -> None:
        super().__init__()
        self.register_buffer("inited", torch.zeros(1))
        self.register_buffer("cluster_size", torch.zeros(num_entries))
        self.register_buffer("embed", torch.zeros(num_entries, dim))
        self.register_buffer("embed_avg", torch.zeros(num_entries, dim))

    def find(self, x_MD: Tensor) -> Tensor:
        """Number of the nearest entry, int64 [M]."""
        return (2 * x_MD @ self.embed.T - self.embed.square().sum(1)).argmax(1)

    def sum_up(self, x_MD: Tensor, found_M: Tensor) -> Tensor:
        """What `learn` needs of these vectors, one float64 vector: parts of it are added up by whoever has them."""
        x_MD = x_MD.double()
        counts_N = torch.zeros(len(self.embed), dtype=torch.float64, device=x_MD.device)
        counts_N.index_add_(0, found_M, torch.ones_like(found_M, dtype=torch.float64))
        sums_ND = torch.zeros(self.embed.shape, dtype=torch.float64, device=x_MD.device).index_add_(0, found_M, x_MD)
        return torch.cat([counts_N, sums_ND.flatten(), x_MD.sum(0), x_MD.square().sum(0)])

    def num_sums(self) -> int:
        entries, dim = self.embed.shape
        return entries + entries * dim + 2 * dim

    @torch.no_grad()
    def learn(self, sums: Tensor, decay: float, threshold: float, seed: int) -> None:
        """Move by the sums of all vectors of a step; nothing happens without any."""
        entries, dim = self.embed.shape
        counts_N, sums_ND, sum_D, square_D = sums.float().split([entries, entries * dim, dim, dim])
        if not (total := counts_N.sum()) > 0:
            return
        mean_D = sum_D / total
        deviation_D = (square_D / total - mean_D.square()).clamp_min(0).sqrt()
        noise_ND = torch.randn(entries, dim, generator=torch.Generator().manual_seed(seed)).to(self.embed.device)
        drawn_ND = mean_D + deviation_D * noise_ND
        if not self.is_ready():
            self.cluster_size.fill_(float(total) / entries)
            dead_N = torch.ones_like(self.cluster_size, dtype=torch.bool)
        else:
            self.cluster_size.lerp_(counts_N, 1 - decay)
            self.embed_avg.lerp_(sums_ND.view(entries, dim), 1 - decay)
            dead_N = self.cluster_size < threshold
            self.cluster_size[dead_N] = max(threshold, EPSILON)
        self.embed_avg[dead_N] = (drawn_ND * self.cluster_size[:, None])[dead_N]
        size = self.cluster_size.sum()
        smoothed_N = (self.cluster_size + EPSILON) / (size + entries * EPSILON) * size
        self.embed.copy_(self.embed_avg / smoothed_N[:, None])
        self.embed[dead_N] = drawn_ND[dead_N]
        self.inited.fill_(1)

    def is_ready(self) -> bool:
        return bool(self.inited > 0)


class ResidualQuantizer(nn.Module):
    """Each level quantises what the ones before it left. A level begins to learn when the one before it has begun."""

    def __init__(
        self, dim: int, num_levels: int, num_entries: int, decay: float = 0.99, threshold: float = 0.1
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Codebook(dim, num_entries) for _ in range(num_levels))
        self.decay, self.threshold = decay, threshold
        self._sums: list[Tensor | None] = [None] * num_levels

    def reset(self) -> None:
        """Nothing learnt, with all buffers 0: what a model starts from."""
        for buffer in self.buffers():
            buffer.zero_()

    @property
    def codebooks(self) -> list[Codebook]:
        return [layer for layer in self.layers if isinstance(layer, Codebook)]

    def forward(self, x_BLD: Tensor, mask_BL: Tensor, num_levels_BL: Tensor | None = None) -> Tensor:
        """The nearest sums of entries, float32; gradients go to x unchanged. What is True in the mask teaches, when in
        training, at the next `learn`. `num_levels_BL` int64: the first so many levels speak; None: all."""
        x_BLD = x_BLD.float()
        residual_MD = x_BLD.detach().flatten(0, 1)
        mask_M = mask_BL.flatten()
        quantised_MD = torch.zeros_like(residual_MD)
        for level, codebook in enumerate(self.codebooks):
            found_M = codebook.find(residual_MD)
            speaks_M = None if num_levels_BL is None else num_levels_BL.flatten() > level
            if self.training:
                taught_M = mask_M if speaks_M is None else mask_M & speaks_M
                sums = codebook.sum_up(residual_MD[taught_M], found_M[taught_M])
                before = self._sums[level]
                self._sums[level] = sums if before is None else before + sums
            if not codebook.is_ready():
                break
            entries_MD = codebook.embed[found_M]
            if speaks_M is not None:
                entries_MD = entries_MD.masked_fill(~speaks_M[:, None], 0)
            residual_MD, quantised_MD = residual_MD - entries_MD, quantised_MD + entries_MD
        return x_BLD + (quantised_MD.view_as(x_BLD) - x_BLD).detach()

    def learn(self, step: int, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        """Move the codebooks by what was seen since the last call. A collective call."""
        device = self.codebooks[0].embed.device
        parts = [
            torch.zeros(codebook.num_sums(), dtype=torch.float64, device=device) if sums is None else sums
            for codebook, sums in zip(self.codebooks, self._sums, strict=True)
        ]
        self._sums = [None] * len(parts)
        total = sum_over_processes(torch.cat(parts))
        for level, (codebook, sums) in enumerate(
            zip(self.codebooks, total.split([len(part) for part in parts]), strict=True)
        ):
            codebook.learn(sums, self.decay, self.threshold, seed=step * len(parts) + level)
