"""Self- and cross-attention by torch SDPA, with AudioCraft's fused, bias-free projections.

Legend: B batch, S steps, L condition length, D width, H heads, d = D / H.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from musicgen_core.lm.cache import LayerCache


class Attention(nn.Module):
    """Projections shared by both kinds. `in_proj_weight` [3D, D] holds the rows of queries, keys and values."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.out_proj = nn.Linear(dim, dim, bias=False)

    def split_heads(self, x_BSM: Tensor) -> tuple[Tensor, ...]:
        """[B, S, n * D] -> n tensors [B, H, S, d]."""
        batch, steps, _ = x_BSM.shape
        width = self.out_proj.in_features // self.num_heads
        return x_BSM.view(batch, steps, -1, self.num_heads, width).permute(2, 0, 3, 1, 4).unbind(0)

    def attend(self, q_BHSd: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        p = self.dropout if self.training else 0.0
        y_BHSd = functional.scaled_dot_product_attention(q_BHSd, k, v, mask, dropout_p=p, is_causal=causal)
        return self.out_proj(y_BHSd.transpose(1, 2).flatten(2))


class SelfAttention(Attention):
    """Causal attention over the steps so far."""

    def forward(self, x_BSD: Tensor, cache: LayerCache | None = None, offset: int = 0) -> Tensor:
        """`offset`: steps already in the cache."""
        q, k, v = self.split_heads(functional.linear(x_BSD, self.in_proj_weight))
        steps = x_BSD.shape[1]
        if cache is not None:
            k, v = cache.append(k, v, offset)
        if offset == 0:
            return self.attend(q, k, v, causal=steps > 1)
        if steps == 1:
            return self.attend(q, k, v)
        # SDPA's own causal flag counts from the first key, but these queries start at key `offset`
        mask_SS = torch.ones(steps, offset + steps, dtype=torch.bool, device=x_BSD.device).tril(offset)
        return self.attend(q, k, v, mask_SS)


class CrossAttention(Attention):
    """Attention over the condition; the order of its positions carries no meaning beyond their vectors."""

    def forward(
        self, x_BSD: Tensor, source_BLD: Tensor, mask_B11L: Tensor | None, cache: LayerCache | None = None
    ) -> Tensor:
        """mask_B11L: True where a position may be seen; no row may be False throughout. None: all are seen."""
        dim = x_BSD.shape[2]

        def project() -> tuple[Tensor, Tensor]:
            k, v = self.split_heads(functional.linear(source_BLD, self.in_proj_weight[dim:]))
            return k, v

        (q,) = self.split_heads(functional.linear(x_BSD, self.in_proj_weight[:dim]))
        k, v = cache.condition(project) if cache is not None else project()
        return self.attend(q, k, v, mask_B11L)
