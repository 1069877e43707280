"""Memory for batches, used again when whoever had it lets go.

Buffers of a megabyte and more do not mix with what a process keeps of each file that it reads, as seek indexes: in one
heap (glibc's, with torch's 64-byte alignment) something small that stays comes to lie behind a buffer that was given
back, the gap is too small for the next buffer, and 1.5 MB are lost per file that is read for the first time. So large
buffers have pages of their own here, and since new pages cost about what cutting a batch does, they are used again.
"""

from __future__ import annotations

import mmap
import weakref
from collections import deque

import numpy as np
import torch
from torch import Tensor

_MIN_BYTES = 1 << 18
_MAX_RESTING = 8
"""Buffers that wait for use: two for each batch that is read ahead, and two."""

_resting: deque[mmap.mmap] = deque(maxlen=_MAX_RESTING)


def empty(shape: tuple[int, ...], dtype: torch.dtype, pin_memory: bool = False) -> Tensor:
    """A tensor that is not initialised. Its memory is its own as long as it, a view of it, or its numpy array lives; a
    numpy array is to be taken anew once the tensor was moved into shared memory, as a loader's workers do."""
    num_bytes = int(np.prod(shape)) * dtype.itemsize
    if pin_memory or num_bytes < _MIN_BYTES:
        return torch.empty(shape, dtype=dtype, pin_memory=pin_memory)
    pages = _take(num_bytes)
    owner = np.frombuffer(pages, np.uint8)
    weakref.finalize(owner, _resting.append, pages).atexit = False
    return torch.from_numpy(owner).view(dtype).view(shape)


def _take(num_bytes: int) -> mmap.mmap:
    """Pages that rest, or new ones. Private: a forked process has copies."""
    for _ in range(len(_resting)):
        try:
            pages = _resting.popleft()
        except IndexError:  # another thread was faster
            break
        if len(pages) == num_bytes:
            return pages
        _resting.append(pages)
    return mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
