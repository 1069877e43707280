"""Words hashed into a learned look-up table. Needs no download; the embedded default."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from musicgen_core.conditioners.base import Conditioner, Prepared
from musicgen_core.config.model import LutConditionerConfig

PUNCTUATION = "?:!.,;()[]{}\"'`"  # not # or -: they carry meaning in "c# minor" and "lo-fi"


class LutConditioner(Conditioner):
    """One learned vector per hashed word."""

    def __init__(self, config: LutConditionerConfig, output_dim: int) -> None:
        super().__init__(config.dim, output_dim, config.max_words)
        self.embed = nn.Embedding(config.num_bins, config.dim)

    def prepare(self, captions: Sequence[str | None]) -> Prepared:
        words = [split_words(caption) for caption in captions]
        self.count_cut([len(row) for row in words], "words")
        rows = [[hash_word(word, self.embed.num_embeddings) for word in row[: self.max_length]] for row in words]
        width = max(1, *(len(row) for row in rows)) if rows else 1
        ids_BL = torch.zeros(len(rows), width, dtype=torch.int64)
        mask_BL = torch.zeros(len(rows), width, dtype=torch.bool)
        for number, row in enumerate(rows):
            ids_BL[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
            mask_BL[number, : len(row)] = True
        return Prepared(ids_BL, mask_BL)

    def encode(self, prepared: Prepared) -> Tensor:
        return self.embed(prepared.ids_BL)


def split_words(caption: str | None) -> list[str]:
    """Lower-cased words between white space, without punctuation at their ends; empty for None."""
    if caption is None:
        return []
    words = (word.strip(PUNCTUATION) for word in caption.lower().split())
    return [word for word in words if word]


def hash_word(word: str, num_bins: int) -> int:
    """SHA-256 of the UTF-8 text, as an integer, modulo the table's rows (AudioCraft's `hash_trick`)."""
    return int(hashlib.sha256(word.encode()).hexdigest(), 16) % num_bins
