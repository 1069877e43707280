"""What the extension expects of arguments, checked where the message can name them."""

from __future__ import annotations

import numpy as np

from musicgen_core.native.types import Wav


def planar(wav: Wav) -> Wav:
    """Checks and lays out what the kernels need: float32 [C, N], C-contiguous."""
    if wav.ndim != 2 or wav.dtype != np.float32:
        raise ValueError(f"expected float32 [channels, samples], got {wav.dtype} {list(wav.shape)}")
    return np.ascontiguousarray(wav)


def rate(name: str, value: int) -> int:
    """A rate in Hz that fits the extension's type; its own limit is lower, and its message the same."""
    if not 0 < value < 1 << 32:
        raise ValueError(f"{name} is {value}; it must be in 1..768000")
    return value
