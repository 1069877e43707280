"""Codebook patterns applied to codes, and undone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from musicgen_core import _rust_loader
from musicgen_core.native.types import Token


def interleave(
    codes_BKT: NDArray[Token], delays: Sequence[int], special: int, keep_only_valid: bool = True
) -> tuple[NDArray[Token], NDArray[np.bool_]]:
    """Applies the delay pattern (MusicGen, section 2.2): step 1 + delays[k] + t holds frame t of codebook k.

    Args:
        codes_BKT: uint16, int16 or int64.
        delays: one per codebook, ascending, not negative.
        special: what fills the other places; must fit the dtype.
        keep_only_valid: drop the steps after the last frame of the least delayed codebook (training); False keeps
            them all (generation).

    Returns:
        sequence_BKS of the same dtype, S = T + min(delays) + 1 or T + max(delays) + 1; mask_KS bool, True where a
        code is.

    Raises:
        ValueError: shape, dtype, delays or special token do not fit.
    """
    return _rust_loader.interleave(_tokens("codes_BKT", codes_BKT), list(delays), special, keep_only_valid)


def deinterleave(
    sequence_BKS: NDArray[Token], delays: Sequence[int], num_frames: int, special: int
) -> tuple[NDArray[Token], NDArray[np.bool_]]:
    """The inverse of `interleave`, for sequences of any length.

    Returns:
        codes_BKT of the same dtype with T = num_frames; mask_KT bool, False (and code = special) where the sequence
        is too short to hold the code.

    Raises:
        ValueError: shape, dtype, delays or special token do not fit.
    """
    if num_frames < 0:
        raise ValueError(f"num_frames is {num_frames}; it must not be negative")
    return _rust_loader.deinterleave(_tokens("sequence_BKS", sequence_BKS), list(delays), num_frames, special)


def _tokens(name: str, tokens: NDArray[Token]) -> NDArray[Token]:
    if tokens.ndim != 3 or tokens.dtype not in (np.uint16, np.int16, np.int64):
        raise ValueError(f"{name} must be uint16, int16 or int64 with three axes, got {tokens.dtype} {tokens.shape}")
    return np.ascontiguousarray(tokens)
