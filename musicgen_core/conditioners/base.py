"""What a conditioner is: words, numbers or recordings in, vectors of the language model's width out.

`prepare` turns values into small CPU tensors (it may run in a loader, and is all that must wait for the host);
`forward` turns those into vectors on the model's device.

The null condition. A value of None, or words without a word, becomes a row whose mask is False everywhere and whose
vectors are exact zeros: not the encoding of "". Keys and values are projected without bias, so such a row adds exactly
zero to cross-attention whether or not padding is masked. This is AudioCraft's rule (it multiplies by the mask after the
biased projection) and transformers' (zero hidden states with a zero mask).

Legend: B batch, L condition length, E width of the encoder, D width of the language model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from musicgen_core.util.log import say


@dataclass(frozen=True)
class Prepared:
    """Values as ids or as features, padded to the longest of the batch (at least 1)."""

    ids_BL: Tensor
    """int64; zeros for a conditioner that takes features."""

    mask_BL: Tensor
    """bool, True at real positions."""

    features_BLE: Tensor | None = None
    """float32: what stands in place of ids (chroma), or states that the frozen encoder has given before."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Prepared:
        features = self.features_BLE
        return Prepared(
            self.ids_BL.to(device, non_blocking=non_blocking),
            self.mask_BL.to(device, non_blocking=non_blocking),
            features.to(device, non_blocking=non_blocking) if features is not None else None,
        )


@dataclass(frozen=True)
class Condition:
    """What the language model attends to."""

    embeddings_BLD: Tensor
    """Exact zeros where the mask is False."""

    mask_BL: Tensor
    """bool, True at real positions."""


class Conditioner(nn.Module, ABC):
    """Values to vectors. `output_proj` brings the encoder's width to the language model's."""

    null_length: int = 1
    """Positions of a batch in which no sample has a value."""

    null_is_zeros: bool = True
    """Whether no value is no vector; a conditioner may have one that stands for none."""

    def __init__(self, dim: int, output_dim: int, max_length: int) -> None:
        super().__init__()
        self.output_proj = nn.Linear(dim, output_dim)
        self.max_length = max_length
        self.num_cut = 0

    @abstractmethod
    def prepare(self, values: Sequence[Any]) -> Prepared:
        """Values, None meaning none, to CPU tensors."""

    @abstractmethod
    def encode(self, prepared: Prepared) -> Tensor:
        """Vectors [B, L, E] before the projection."""

    def forward(self, prepared: Prepared) -> Condition:
        hidden_BLE = self.encode(prepared).to(self.output_proj.weight.dtype)
        embeddings_BLD = self.output_proj(hidden_BLE)
        return Condition(embeddings_BLD.masked_fill(~prepared.mask_BL[..., None], 0), prepared.mask_BL)

    def learn(self, step: int, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        """Called by every process after each optimizer step: what a conditioner learns without gradients."""

    def null(self, batch: int) -> Condition:
        """The condition of samples without a value, equal to `self(self.prepare([None] * batch))`."""
        weight = self.output_proj.weight
        embeddings_BLD = weight.new_zeros(batch, self.null_length, weight.shape[0])
        return Condition(embeddings_BLD, embeddings_BLD[..., 0].bool())

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
