"""Classifier-free guidance dropout: now and then the model trains without the caption (arXiv 2207.12598)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from musicgen_core import native
from musicgen_core.util.streams import CAPTION_DROPOUT


def drop_captions(
    captions: Sequence[str | None], p: float, seed: int, epoch: int, indexes: Sequence[int] | np.ndarray
) -> list[str | None]:
    """Replace each caption by None with probability p, each on its own.

    Sample `indexes[i]` of `epoch` keeps or loses its caption as a function of (seed, epoch, index) alone, whatever the
    batch, the rank or the number of restarts. AudioCraft draws once for the whole global batch instead.
    Raises ValueError unless 0 <= p <= 1 and there is one index per caption.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"the probability to drop a caption is {p}; it must lie in [0, 1] (training.cfg_dropout)")
    if len(captions) != len(indexes):
        raise ValueError(f"{len(captions)} captions but {len(indexes)} sample indexes")
    draws = native.uniform(seed, CAPTION_DROPOUT, epoch, np.asarray(indexes, dtype=np.int64))
    return [None if draw < p else caption for caption, draw in zip(captions, draws, strict=True)]
