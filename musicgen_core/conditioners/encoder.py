"""A small transformer that looks at a whole excerpt: pre-norm, no biases but in LayerNorm, exact GELU, sinusoids
(the encoder of MusicGen-Style, arXiv 2407.12563, section 3).

Legend: B batch, T frames, H heads, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Encoder(nn.Module):
    """Frames see all real frames of their own sample."""

    def __init__(self, dim: int, num_heads: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(dim, num_heads, dropout) for _ in range(num_layers))

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """What stands where the mask is False influences nothing where it is True."""
        if not len(self.layers):
            return x_BTD
        # a row without a real frame sees all of its own: attention to nothing is NaN in some kernels
        mask_B11T = (mask_BT | ~mask_BT.any(dim=1, keepdim=True))[:, None, None]
        x_BTD = x_BTD + sinusoids(x_BTD.shape[1], x_BTD.shape[2], x_BTD.device).to(x_BTD.dtype)
        for layer in self.layers:
            x_BTD = layer(x_BTD, mask_B11T)
        return x_BTD


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(dim)
        self.in_proj = nn.Linear(dim, 3 * dim, bias=False)
        self.out_proj = nn.Linear(dim, dim, bias=False)
        self.norm2 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, 4 * dim, bias=False)
        self.linear2 = nn.Linear(4 * dim, dim, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, mask_B11T: Tensor) -> Tensor:
        batch, frames, dim = x_BTD.shape
        q_k_v = self.in_proj(self.norm1(x_BTD)).view(batch, frames, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        p = self.dropout.p if self.training else 0.0
        y_BHTd = functional.scaled_dot_product_attention(q_k_v[0], q_k_v[1], q_k_v[2], mask_B11T, dropout_p=p)
        y_BTD = y_BHTd.transpose(1, 2).reshape(batch, frames, dim)
        x_BTD = x_BTD + self.dropout(self.out_proj(y_BTD))
        hidden = self.dropout(functional.gelu(self.linear1(self.norm2(x_BTD))))
        return x_BTD + self.dropout(self.linear2(hidden))


def sinusoids(num_frames: int, dim: int, device: torch.device) -> Tensor:
    """float32 [T, D]: cosines, then sines, of frame / 10000^(i / (D/2 - 1)), as in the language model."""
    half = dim // 2
    factors = torch.exp(torch.arange(half, device=device, dtype=torch.float32) * -(math.log(10000) / (half - 1)))
    phase_TH = torch.arange(num_frames, device=device, dtype=torch.float32)[:, None] * factors[None]
    return torch.cat([phase_TH.cos(), phase_TH.sin()], dim=1)
