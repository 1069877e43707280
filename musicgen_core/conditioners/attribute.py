"""A field of metadata (key, genre, artist, ...) as one learned vector per value; AudioCraft's `lut` with `noop`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from musicgen_core.conditioners.base import Conditioner, Prepared
from musicgen_core.conditioners.lut import hash_word
from musicgen_core.config.condition import AttributeConditionConfig


class AttributeConditioner(Conditioner):
    """One vector per hashed value: the whole value is one word, lower-cased and without spaces at its ends."""

    def __init__(self, config: AttributeConditionConfig, output_dim: int) -> None:
        super().__init__(config.dim, output_dim, max_length=1)
        self.embed = nn.Embedding(config.num_bins, config.dim)

    def prepare(self, values: Sequence[Any]) -> Prepared:
        """Strings, or lists of them (joined by one space, as in AudioCraft); "" counts as None."""
        texts = [_as_text(value) for value in values]
        ids = [hash_word(text, self.embed.num_embeddings) if text else 0 for text in texts]
        mask = [bool(text) for text in texts]
        return Prepared(torch.tensor(ids, dtype=torch.int64)[:, None], torch.tensor(mask, dtype=torch.bool)[:, None])

    def encode(self, prepared: Prepared) -> Tensor:
        return self.embed(prepared.ids_BL)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    joined = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return joined.strip().lower()
