"""Codebook patterns: which step of the model's sequence holds which code.

A pattern is one table, `step_KT`: the sequence step at which code (k, t) stands. Step 0 holds no code; it is the start
token. Everything else (what to gather, what is masked, which logits predict which code) follows from that table; see
`apply.py`. Terms and worked tables: MusicGen paper (arXiv 2306.05284) section 2.2.

Legend: K codebooks, T frames, S steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where each code stands. Compared and hashed by identity, so that tables derived from it can be cached."""

    step_KT: np.ndarray
    """int64 [K, T]: the step of code (k, t), at least 1, and each step at most once per codebook."""

    num_steps: int
    """Length that holds every code: used in generation."""

    num_valid_steps: int
    """Length after which steps would hold frames past the end: used in training (AudioCraft's keep_only_valid_steps).
    Codes at later steps get no prediction and no loss."""

    def length(self, keep_only_valid: bool) -> int:
        """Number of steps S."""
        return self.num_valid_steps if keep_only_valid else self.num_steps

    def frame_KS(self, keep_only_valid: bool) -> np.ndarray:
        """int64 [K, S]: the frame that each step holds, -1 where it holds the special token."""
        num_codebooks, num_frames = self.step_KT.shape
        frames = np.full((num_codebooks, self.num_steps), -1, dtype=np.int64)
        np.put_along_axis(frames, self.step_KT, np.arange(num_frames, dtype=np.int64)[None], axis=1)
        return frames[:, : self.length(keep_only_valid)]


def check_delays(delays: Sequence[int], num_codebooks: int) -> tuple[int, ...]:
    """Return the delays as a tuple.

    Raises ValueError unless there is one per codebook, none is negative and they ascend.
    """
    delays = tuple(int(delay) for delay in delays)
    if len(delays) != num_codebooks:
        raise ValueError(f"{len(delays)} delays for {num_codebooks} codebooks; give one per codebook (model.delays)")
    if min(delays) < 0 or list(delays) != sorted(delays):
        raise ValueError(f"delays {list(delays)} must be 0 or more and ascend (model.delays)")
    return delays


@lru_cache(maxsize=128)
def delay_pattern(num_frames: int, delays: tuple[int, ...]) -> Pattern:
    """MusicGen's pattern: codebook k runs `delays[k]` frames late.

    Code (k, t) stands at step t + delays[k] + 1. Raises ValueError for no frames or bad delays.
    """
    if num_frames < 1:
        raise ValueError(f"a pattern needs at least 1 frame, got {num_frames}")
    delays = check_delays(delays, len(delays))
    step_KT = np.arange(num_frames, dtype=np.int64)[None] + np.asarray(delays, dtype=np.int64)[:, None] + 1
    return Pattern(
        step_KT=step_KT, num_steps=num_frames + max(delays) + 1, num_valid_steps=num_frames + min(delays) + 1
    )
