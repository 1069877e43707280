"""How conditions enter the language model: as a source for cross-attention, as steps before the codes, or added.

Conditions keep their order; each `prepend` goes in front of those before it, so that the words, which come first, stand
next to the codes (AudioCraft's order for melody: chroma, words, codes).

Legend: B batch, S steps, L condition length, P steps before the codes, D width of the language model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from musicgen_core.conditioners.base import Condition
from musicgen_core.config.condition import Fusion


@dataclass(frozen=True)
class Fused:
    """All conditions of a batch, ready for the transformer."""

    source: Condition | None
    """Of cross-attention; None is exactly a source of zeros."""

    prefix_BPD: Tensor | None
    added_B1D: Tensor | None
    """Added to every step."""

    stretched: tuple[Tensor, ...]
    """[B, L, D] each, to be stretched over the sequence and added."""

    @property
    def num_prefix(self) -> int:
        return self.prefix_BPD.shape[1] if self.prefix_BPD is not None else 0

    @property
    def enters_later(self) -> bool:
        """Whether anything is added to steps after the first."""
        return self.added_B1D is not None or bool(self.stretched)

    def enter(self, x_BSD: Tensor, first_step: int, num_steps: int) -> Tensor:
        """Add to steps first_step .. of a sequence of num_steps, and prepend when they are the first."""
        if self.added_B1D is not None:
            x_BSD = x_BSD + self.added_B1D.to(x_BSD.dtype)
        for stretched_BLD in self.stretched:
            index_S = stretch_index(first_step, x_BSD.shape[1], num_steps, stretched_BLD.shape[1], x_BSD.device)
            x_BSD = x_BSD + stretched_BLD.index_select(1, index_S).to(x_BSD.dtype)
        if self.prefix_BPD is not None and first_step == 0:
            x_BSD = torch.cat([self.prefix_BPD.to(x_BSD.dtype), x_BSD], dim=1)
        return x_BSD


def fuse(conditions: Mapping[str, Condition], fusions: Mapping[str, Fusion]) -> Fused:
    """Sort conditions by where they go. Keys agree; the order is that of `conditions`."""
    sources: list[Condition] = []
    prefix: list[Tensor] = []
    added: list[Tensor] = []
    stretched: list[Tensor] = []
    for name, condition in conditions.items():
        fusion = fusions[name]
        if fusion == "cross":
            sources.append(condition)
        elif fusion == "prepend":
            prefix.insert(0, condition.embeddings_BLD)
        elif fusion == "sum":
            added.append(condition.embeddings_BLD.sum(1, keepdim=True))
        else:
            stretched.append(condition.embeddings_BLD)
    source = None
    if sources:
        source = Condition(
            torch.cat([condition.embeddings_BLD for condition in sources], dim=1),
            torch.cat([condition.mask_BL for condition in sources], dim=1),
        )
    return Fused(
        source=source,
        prefix_BPD=torch.cat(prefix, dim=1) if prefix else None,
        added_B1D=sum(added[1:], added[0]) if added else None,
        stretched=tuple(stretched),
    )


def stretch_index(first_step: int, count: int, num_steps: int, length: int, device: torch.device) -> Tensor:
    """int64 [count]: the condition's position at each step, floor(step * length / num_steps).

    That is nearest-neighbour interpolation (torch's `nearest`); steps from num_steps on keep the last of these.
    """
    steps = torch.arange(first_step, first_step + count, device=device).clamp(max=num_steps - 1)
    return steps * length // num_steps
