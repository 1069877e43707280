"""Random numbers and segments as pure functions of (seed, epoch, index)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicgen_core import _rust_loader


def philox_raw(key: tuple[int, int], counter: tuple[int, int, int, int]) -> NDArray[np.uint64]:
    """One block of Philox4x64-10, uint64 [4]; `numpy.random.Philox` gives it for the counter less one."""
    return _rust_loader.philox_raw(key, counter)


def uniform(seed: int, stream: int, epoch: int, indexes: ArrayLike, draw: int = 0) -> NDArray[np.float64]:
    """Numbers in [0, 1), one per index, each a pure function of (seed, stream, epoch, index, draw).

    The upper 53 bits of the first word of the Philox block with key (seed, stream), counter (epoch, index, draw, 0).
    """
    return _rust_loader.uniform(seed, stream, epoch, np.ascontiguousarray(indexes, dtype=np.int64), draw)


def sample_segments(
    seed: int,
    epoch: int,
    first_index: int,
    count: int,
    num_frames: ArrayLike,
    weights: ArrayLike | None,
    segment_frames: int,
    min_segment_ratio: float,
    stream: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draws segments `first_index .. first_index + count` of an epoch; each is a pure function of (seed, stream, epoch,
    index), so any part can be drawn anywhere, in any order.

    Args:
        num_frames: frames of each track, int64 [tracks].
        weights: relative chance of each track, float64 [tracks]; None for the same for all.
        segment_frames: length of a segment.
        min_segment_ratio: how much of a segment must lie inside its track, in [0, 1].

    Returns:
        tracks int64 [count] and starts int64 [count]: the track by word 0 of the Philox block (key (seed, stream),
        counter (epoch, index, 0, 0)), the start by word 1, uniform in
        [0, max(0, frames - ceil(segment_frames * min_segment_ratio))].

    Raises:
        ValueError: no tracks, negative frames or weights, weights that sum to 0.
    """
    num_frames = np.ascontiguousarray(num_frames, dtype=np.int64)
    weights = None if weights is None else np.ascontiguousarray(weights, dtype=np.float64)
    return _rust_loader.sample_segments(
        seed, epoch, first_index, count, num_frames, weights, segment_frames, min_segment_ratio, stream
    )
