"""Pieces of encoded audio, decoded into one buffer: what every loader of audio segments does.

Legend: B batch, C channels, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from musicgen_core import native


@dataclass(frozen=True)
class AudioPiece:
    """Consecutive samples of an audio file."""

    path: Path
    """The file, or one that holds it."""

    start: int
    """First sample, at the rate that is asked for."""

    num_valid: int
    """Samples that there must be, from `start` on; what is asked for beyond them is 0."""

    name: str | None = None
    """What errors call a file that is inside another."""

    byte_range: tuple[int, int] | None = None
    """Where in `path` such a file is: offset and number of bytes."""


def cut_pieces(pieces: Sequence[AudioPiece], out_BCN: np.ndarray, *, sample_rate_hz: int, num_threads: int = 1) -> None:
    """Fill `out_BCN`, float32, C-contiguous, one row per piece: bit-equal to the same samples of the whole file, mixed
    and resampled; 0 after `num_valid`.

    The threads are of this call only, so that a process may fork between two calls. Raises what `native.read_segment`
    raises, and ValueError for a file with fewer samples than `num_valid` says; all name the file.
    """

    def fill(row: int) -> None:
        piece = pieces[row]
        wav_CN = native.read_segment(
            piece.path,
            piece.start,
            out_BCN.shape[2],
            sample_rate_hz=sample_rate_hz,
            num_channels=out_BCN.shape[1],
            out=out_BCN[row],
            name=piece.name,
            byte_range=piece.byte_range,
        )
        if wav_CN.shape[1] != piece.num_valid:
            raise ValueError(
                f"{piece.name or piece.path}: {wav_CN.shape[1]} of {piece.num_valid} samples from sample "
                f"{piece.start} at {sample_rate_hz} Hz; damaged, or replaced since it was opened"
            )

    rows = range(len(pieces))
    if num_threads == 1:
        for row in rows:
            fill(row)
    else:
        with ThreadPoolExecutor(num_threads, thread_name_prefix="audio-segments") as threads:
            for _ in threads.map(fill, rows):
                pass
