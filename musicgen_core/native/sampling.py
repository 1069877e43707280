"""Random numbers as pure functions of (seed, epoch, index)."""

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
