"""What each training sample is conditioned on: its words and values, some of them dropped."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from musicgen_core import native
from musicgen_core.conditioners.augment import augment_captions
from musicgen_core.conditioners.dropout import drop_captions
from musicgen_core.config.condition import ConditionConfig
from musicgen_core.config.words import WordsConfig
from musicgen_core.util.streams import CONDITION_DROPOUT

Row = dict[str, Any] | None
"""Values by condition; `description` are the words. None: nothing at all, as guidance needs."""


def training_rows(
    tracks: Sequence[Mapping[str, Any]],
    conditions: Mapping[str, ConditionConfig],
    words: WordsConfig,
    cfg_dropout: float,
    seed: int,
    epochs_B: np.ndarray,
    indexes_B: np.ndarray,
) -> list[Row]:
    """Rows of a batch, from the tracks' lines in the manifest. Each is a function of (seed, epoch, index) alone.

    With probability `cfg_dropout` a sample loses everything; before that the words (`words.dropout`) and each condition
    are dropped by themselves, each with its own `dropout`. (AudioCraft draws both once for the whole global batch.)
    """
    rows: list[Row] = []
    for epoch in dict.fromkeys(epochs_B.tolist()):  # ascending: a batch may run over the end of an epoch
        here = np.flatnonzero(epochs_B == epoch).tolist()
        part, indexes = [tracks[i] for i in here], indexes_B[here]
        captions = augment_captions(part, words, seed, epoch, indexes)
        spoken = _keep("description", words.dropout, seed, epoch, indexes)
        filled: list[dict[str, Any]] = [
            {"description": caption if keep else None} for caption, keep in zip(captions, spoken, strict=True)
        ]
        for name, condition in conditions.items():
            kept = _keep(name, condition.dropout, seed, epoch, indexes)
            for row, track, keep in zip(filled, part, kept, strict=True):
                row[name] = track.get(name) if keep else None
        dropped = drop_captions([""] * len(part), cfg_dropout, seed, epoch, indexes)
        rows += [row if mark is not None else None for row, mark in zip(filled, dropped, strict=True)]
    return rows


def kept_conditions(
    conditions: Mapping[str, ConditionConfig],
    cfg_dropout: float,
    seed: int,
    epochs_B: np.ndarray,
    indexes_B: np.ndarray,
) -> dict[str, np.ndarray]:
    """Which samples of a batch `training_rows` leaves which condition, bool [B]: what need not be read is not."""
    kept = {name: np.zeros(len(indexes_B), dtype=bool) for name in conditions}
    for epoch in np.unique(epochs_B).tolist():
        here = np.flatnonzero(epochs_B == epoch)
        whole = drop_captions([""] * len(here), cfg_dropout, seed, epoch, indexes_B[here])
        for name, condition in conditions.items():
            alone = _keep(name, condition.dropout, seed, epoch, indexes_B[here])
            kept[name][here] = alone & np.array([mark is not None for mark in whole])
    return kept


def plain_rows(tracks: Sequence[Mapping[str, Any]], conditions: Mapping[str, ConditionConfig]) -> list[Row]:
    """Rows without any dropout or augmentation, as validation takes them."""
    return [{"description": track.get("caption"), **{name: track.get(name) for name in conditions}} for track in tracks]


def _keep(name: str, p: float, seed: int, epoch: int, indexes: np.ndarray) -> np.ndarray:
    draw = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")  # by name: the order must not matter
    return native.uniform(seed, CONDITION_DROPOUT, epoch, indexes, draw) >= p
