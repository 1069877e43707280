"""What a conditioner is: words in, vectors for cross-attention out.

`prepare` turns captions into small CPU tensors (it may run in a loader, and is all that must wait for the host);
`forward` turns those into vectors on the model's device.

The null condition. A caption of None, or one without words, becomes a row whose mask is False everywhere and whose
vectors are exact zeros: not the encoding of "". Keys and values are projected without bias, so such a row adds exactly
zero to cross-attention whether or not padding is masked. This is AudioCraft's rule (it multiplies by the mask after the
biased projection) and transformers' (zero hidden states with a zero mask).

Legend: B batch, L condition length, D width of the language model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from musicgen_core.util.log import say


@dataclass(frozen=True)
class Prepared:
    """Captions as token ids, padded to the longest of the batch (at least 1)."""

    ids_BL: Tensor
    """int64"""

    mask_BL: Tensor
    """bool, True at real tokens."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Prepared:
        return Prepared(
            self.ids_BL.to(device, non_blocking=non_blocking), self.mask_BL.to(device, non_blocking=non_blocking)
        )


@dataclass(frozen=True)
class Condition:
    """What the language model attends to."""

    embeddings_BLD: Tensor
    """Exact zeros where the mask is False."""

    mask_BL: Tensor
    """bool, True at real positions."""


class Conditioner(nn.Module, ABC):
    """Captions to vectors. `output_proj` brings the encoder's width to the language model's."""

    def __init__(self, dim: int, output_dim: int, max_length: int) -> None:
        super().__init__()
        self.output_proj = nn.Linear(dim, output_dim)
        self.max_length = max_length
        self.num_cut = 0

    @abstractmethod
    def prepare(self, captions: Sequence[str | None]) -> Prepared:
        """Captions, None meaning absent, to CPU tensors."""

    @abstractmethod
    def encode(self, prepared: Prepared) -> Tensor:
        """Vectors [B, L, dim] before the projection."""

    def forward(self, prepared: Prepared) -> Condition:
        hidden_BLE = self.encode(prepared).to(self.output_proj.weight.dtype)
        embeddings_BLD = self.output_proj(hidden_BLE)
        return Condition(embeddings_BLD.masked_fill(~prepared.mask_BL[..., None], 0), prepared.mask_BL)

    def count_cut(self, lengths: Sequence[int], unit: str) -> None:
        """Count captions longer than `max_length`; say so at the 1st, 10th, 100th, ... one."""
        for length in lengths:
            if length > self.max_length:
                self.num_cut += 1
                if str(self.num_cut).strip("0") == "1":
                    say(
                        f"captions cut so far: {self.num_cut}; this one has {length} {unit}, "
                        f"the conditioner takes {self.max_length}"
                    )
