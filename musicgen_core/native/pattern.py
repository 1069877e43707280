"""Codebook patterns applied to codes, and undone. A pattern is a table of steps; patterns/layout.py makes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from musicgen_core import _rust_loader
from musicgen_core.native.types import Token


def interleave(
    codes_BKT: NDArray[Token], step_KT: NDArray[np.int64], num_steps: int, special: int
) -> tuple[NDArray[Token], NDArray[np.bool_]]:
    """Lays codes out along the model's sequence: code (k, t) goes to step step_KT[k, t].

    A table whose rows are runs (delay, parallel) is copied row by row, any other code by code.

    Args:
        codes_BKT: uint16, int16 or int64.
        step_KT: int64, at least 1 and ascending with t in each row.
        num_steps: S; codes at later steps are left out.
        special: what fills the other places; must fit the dtype.

    Returns:
        sequence_BKS of the same dtype; mask_KS bool, True where a code is.

    Raises:
        ValueError: shape, dtype, table or special token do not fit; the message says which, with the numbers.
    """
    if num_steps < 0:
        raise ValueError(f"num_steps is {num_steps}; it must not be negative")
    return _rust_loader.interleave(_tokens("codes_BKT", codes_BKT), _table(step_KT), num_steps, special)


def deinterleave(
    sequence_BKS: NDArray[Token], step_KT: NDArray[np.int64], special: int
) -> tuple[NDArray[Token], NDArray[np.bool_]]:
    """The inverse of `interleave`, for sequences of any length.

    Returns:
        codes_BKT of the same dtype; mask_KT bool, False (and code = special) where the sequence is too short to hold
        the code.

    Raises:
        ValueError: shape, dtype, table or special token do not fit; the message says which, with the numbers.
    """
    return _rust_loader.deinterleave(_tokens("sequence_BKS", sequence_BKS), _table(step_KT), special)


def _tokens(name: str, tokens: NDArray[Token]) -> NDArray[Token]:
    if tokens.ndim != 3 or tokens.dtype not in (np.uint16, np.int16, np.int64):
        raise ValueError(f"{name} must be uint16, int16 or int64 with three axes, got {tokens.dtype} {tokens.shape}")
    return np.ascontiguousarray(tokens)


def _table(step_KT: NDArray[np.int64]) -> NDArray[np.int64]:
    if step_KT.ndim != 2 or step_KT.dtype != np.int64:
        raise ValueError(f"step_KT must be int64 with two axes, got {step_KT.dtype} {step_KT.shape}")
    return np.ascontiguousarray(step_KT)
