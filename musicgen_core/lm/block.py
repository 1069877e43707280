"""One pre-norm transformer layer and the stack of them (MusicGen: no biases but in LayerNorm, exact GELU).

Legend: B batch, S steps, L condition length, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from musicgen_core.lm.attention import CrossAttention, SelfAttention
from musicgen_core.lm.cache import Cache, LayerCache


class Transformer(nn.Module):
    """Positions and layers."""

    def __init__(self, dim: int, num_heads: int, num_layers: int, dropout: float, cross: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(dim, num_heads, dropout, cross) for _ in range(num_layers))

    def forward(
        self, x_BSD: Tensor, source_BLD: Tensor | None, mask_B11L: Tensor | None, cache: Cache | None = None
    ) -> Tensor:
        """source_BLD None: cross-attention is left out, which equals a source of zeros."""
        offset = cache.num_steps if cache is not None else 0
        x_BSD = x_BSD + positions(offset, x_BSD.shape[1], x_BSD.shape[2], x_BSD.device).to(x_BSD.dtype)
        for index, layer in enumerate(self.layers):
            if cache is None:
                x_BSD = layer(x_BSD, source_BLD, mask_B11L)
            else:
                x_BSD = layer(x_BSD, source_BLD, mask_B11L, cache.layers[index], offset)
        if cache is not None:
            cache.num_steps += x_BSD.shape[1]
        return x_BSD


class TransformerLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward; each normalised first and added to its input.

    A model without conditions for it (melody: all are prepended) has no cross-attention.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float, cross: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.self_attn = SelfAttention(dim, num_heads, dropout)
        if cross:
            self.norm_cross = nn.LayerNorm(dim)
            self.cross_attention = CrossAttention(dim, num_heads, dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, 4 * dim, bias=False)
        self.linear2 = nn.Linear(4 * dim, dim, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x_BSD: Tensor,
        source_BLD: Tensor | None,
        mask_B11L: Tensor | None,
        cache: LayerCache | None = None,
        offset: int = 0,
    ) -> Tensor:
        x_BSD = x_BSD + self.dropout(self.self_attn(self.norm1(x_BSD), cache, offset))
        if source_BLD is not None:
            x_BSD = x_BSD + self.dropout(self.cross_attention(self.norm_cross(x_BSD), source_BLD, mask_B11L, cache))
        hidden = self.dropout(functional.gelu(self.linear1(self.norm2(x_BSD))))
        return x_BSD + self.dropout(self.linear2(hidden))


def positions(offset: int, num_steps: int, dim: int, device: torch.device) -> Tensor:
    """Sinusoids [S, D] of steps offset, offset + 1, ...: all cosines, then all sines.

    Step p has phase p / 10000^(i / (D/2 - 1)), i = 0 .. D/2-1: note the -1. Always float32, whatever the model
    computes in: bfloat16 would be wrong by 0.17 on average over 2,048 steps. The factors are computed as exp(-i * ...),
    as transformers does; AudioCraft's power differs from that by at most 2.4e-4 over 2,048 steps.
    """
    half = dim // 2
    factors = torch.exp(torch.arange(half, device=device, dtype=torch.float32) * -(math.log(10000) / (half - 1)))
    steps = torch.arange(offset, offset + num_steps, device=device, dtype=torch.float32)
    phase_SH = steps[:, None] * factors[None]
    return torch.cat([phase_SH.cos(), phase_SH.sin()], dim=1)
