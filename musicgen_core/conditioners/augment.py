"""Words as they are varied in training: metadata merged into captions, single words left out.

The rules are AudioCraft's (audiocraft/data/music_dataset.py: augment_music_info_description; T5Conditioner's word
dropout); the draws are not: each is a function of (seed, epoch, index) alone, so that a run can be resumed and checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from musicgen_core import native
from musicgen_core.config.words import WordsConfig
from musicgen_core.util.streams import TEXT_AUGMENTATION, WORD_DROPOUT

FIELDS = ("key", "bpm", "genre", "moods", "instrument", "keywords")

_MERGE, _DROP, _KEEP, _ORDER = 0, 1, 2, 2 + len(FIELDS)
"""Numbers of the draws; one of _KEEP and one of _ORDER for each field."""


def augment_captions(
    tracks: Sequence[Mapping[str, Any]],
    config: WordsConfig,
    seed: int,
    epoch: int,
    indexes: Sequence[int] | np.ndarray,
) -> list[str | None]:
    """The caption of each sample, from its track's line in the manifest (`caption` and FIELDS)."""
    captions = [track.get("caption") for track in tracks]
    where = np.asarray(indexes, dtype=np.int64)
    if config.merge_metadata > 0:
        draws = [native.uniform(seed, TEXT_AUGMENTATION, epoch, where, draw) for draw in range(_ORDER + len(FIELDS))]
        columns = np.stack(draws, axis=1)
        captions = [merge_metadata(track, config, row) for track, row in zip(tracks, columns, strict=True)]
    if config.drop_word > 0:
        captions = [
            drop_words(caption, config.drop_word, seed, epoch, int(index))
            for caption, index in zip(captions, where, strict=True)
        ]
    return captions


def merge_metadata(track: Mapping[str, Any], config: WordsConfig, draws: np.ndarray) -> str | None:
    """Caption and metadata as one text; `draws` are the sample's uniforms, float64 in [0, 1)."""
    caption: str | None = track.get("caption")
    metadata = ""
    if draws[_MERGE] < config.merge_metadata:
        kept = [
            (draws[_ORDER + number], f"{name}: {_as_text(track[name])}")
            for number, name in enumerate(FIELDS)
            if track.get(name) is not None and draws[_KEEP + number] < config.keep_field
        ]
        metadata = ". ".join(text for _, text in sorted(kept))
        if draws[_DROP] < config.drop_caption:
            caption = None
    if caption is None:
        return metadata if len(metadata) > 1 else None
    return f"{caption.rstrip('.')}. {metadata}".strip()


def drop_words(caption: str | None, p: float, seed: int, epoch: int, index: int) -> str | None:
    """Leave out each word, between single spaces, with probability p; None when none remains."""
    if caption is None:
        return None
    words = caption.split(" ")
    draws = [float(native.uniform(seed, WORD_DROPOUT, epoch, [index], number)[0]) for number in range(len(words))]
    return " ".join(word for word, draw in zip(words, draws, strict=True) if draw >= p) or None


def _as_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
