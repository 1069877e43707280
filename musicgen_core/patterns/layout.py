"""Codebook patterns: which step of the model's sequence holds which code.

A pattern is one table, `step_KT`: the sequence step at which code (k, t) stands. Step 0 holds no code; it is the start
token. Everything else (what to gather, what is masked, which logits predict which code) follows from that table; see
`apply.py`. Terms: MusicGen paper (arXiv 2306.05284) section 2.2. Tables and lengths are those of AudioCraft's providers
(audiocraft/modules/codebooks_patterns.py), whose layouts run on over frames past the end; `num_valid_steps` is what is
left when as many steps are cut from the back as such frames come after the last real one.

Legend: K codebooks, T frames, S steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from musicgen_core.config.pattern import (
    CoarseFirstPatternConfig,
    DelayPatternConfig,
    MusicLMPatternConfig,
    ParallelPatternConfig,
    PatternConfig,
    UnrollPatternConfig,
)

MAX_STEPS = 65_536
"""Longer sequences are refused: attention's time grows with their square."""


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where each code stands. Compared and hashed by identity, so that tables derived from it can be cached."""

    step_KT: np.ndarray
    """int64 [K, T]: the step of code (k, t), at least 1 and ascending with t."""

    num_steps: int
    """Length that holds every code: used in generation."""

    num_valid_steps: int
    """Length used in training (AudioCraft's keep_only_valid_steps). Codes at later steps get no prediction and no
    loss."""

    def length(self, keep_only_valid: bool) -> int:
        """Number of steps S."""
        return self.num_valid_steps if keep_only_valid else self.num_steps

    def frame_KS(self, keep_only_valid: bool) -> np.ndarray:
        """int64 [K, S]: the frame that each step holds, -1 where it holds the special token."""
        num_codebooks, num_frames = self.step_KT.shape
        frames = np.full((num_codebooks, self.num_steps), -1, dtype=np.int64)
        np.put_along_axis(frames, self.step_KT, np.arange(num_frames, dtype=np.int64)[None], axis=1)
        return frames[:, : self.length(keep_only_valid)]


@lru_cache(maxsize=128)
def build_pattern(config: PatternConfig, num_codebooks: int, num_frames: int) -> Pattern:
    """The table of a resolved config (`resolve_pattern`).

    Raises ValueError for less than one frame, and for more than MAX_STEPS steps.
    """
    if num_frames < 1:
        raise ValueError(f"a pattern needs at least 1 frame, got {num_frames}")
    pattern = _build(config, num_codebooks, num_frames) if num_frames < MAX_STEPS else None
    if pattern is None or pattern.num_steps > MAX_STEPS:
        count = pattern.num_steps if pattern else f"more than {num_frames}"
        raise ValueError(
            f"{num_frames} frames of {num_codebooks} codebooks are {count} steps in the pattern {config.kind}, above "
            f"the limit of {MAX_STEPS}; ask for fewer seconds (training.segment_sec, generation.duration_sec) "
            "or choose a model.pattern with fewer steps"
        )
    return pattern


def _build(config: PatternConfig, num_codebooks: int, num_frames: int) -> Pattern:
    if isinstance(config, ParallelPatternConfig):
        config = DelayPatternConfig(delays=(0,) * num_codebooks, empty_initial=config.empty_initial)
    if isinstance(config, DelayPatternConfig):
        return _delay(config, num_frames)
    if isinstance(config, UnrollPatternConfig):
        return _unroll(config, num_frames)
    if isinstance(config, CoarseFirstPatternConfig):
        return _coarse_first(config, num_frames)
    return _musiclm(config, num_codebooks, num_frames)


def _delay(config: DelayPatternConfig, num_frames: int) -> Pattern:
    """Codebook k stands delays[k] steps late. The first frames may be written out one code per step before that."""
    delays_K = _array(config.delays)
    num_codebooks, flatten_first = len(delays_K), config.flatten_first
    frames_T, codebooks_K1 = np.arange(num_frames), np.arange(num_codebooks)[:, None]
    num_flat = min(num_frames, flatten_first)
    start = 1 + config.empty_initial
    delayed = start + num_flat * num_codebooks  # here frame `flatten_first` of a codebook without delay stands
    step_KT = np.where(
        frames_T < num_flat,
        start + frames_T * num_codebooks + codebooks_K1,
        delayed + frames_T - flatten_first + delays_K[:, None],
    )
    longest = int(delays_K.max())
    num_steps = delayed + max(0, num_frames + longest - flatten_first)
    end = num_frames + longest - int(delays_K.min())  # the last step holds frame end - 1 of the earliest codebook
    return Pattern(step_KT, num_steps, num_steps - (end - num_frames if end > flatten_first else 0))


def _unroll(config: UnrollPatternConfig, num_frames: int) -> Pattern:
    """Each frame takes an inner step per group of codebooks; a group's frame may come delays frames later.

    Within the time of one frame stand first the inner steps without a codebook, then the most delayed group, and the
    earliest last: AudioCraft sorts steps by (time, coordinates), and a delayed group's frames are older.
    """
    flattening_K, delays_K = _array(config.flattening), _array(config.delays)
    inner, first_of_group, group_K = np.unique(flattening_K, return_index=True, return_inverse=True)
    delays_G = delays_K[first_of_group]
    num_empty = int(inner[-1]) + 1 - len(inner)
    longest = int(delays_G.max())
    times_V = np.arange(num_frames + longest)
    size_V = num_empty + (delays_G[:, None] <= times_V).sum(axis=0)  # steps that each time takes
    begin_V = 1 + np.cumsum(size_V) - size_V
    time_GT = np.arange(num_frames) + delays_G[:, None]
    groups = np.arange(len(inner))
    before_GG = (delays_G > delays_G[:, None]) | ((delays_G == delays_G[:, None]) & (groups < groups[:, None]))
    started_GGT = delays_G[:, None] <= time_GT[:, None]
    step_GT = begin_V[time_GT] + num_empty + (before_GG[:, :, None] & started_GGT).sum(axis=1)
    num_steps = 1 + int(size_V.sum())
    return Pattern(step_GT[group_K], num_steps, num_steps - (longest - int(delays_G.min())))


def _coarse_first(config: CoarseFirstPatternConfig, num_frames: int) -> Pattern:
    """Codebook 0 of all frames, then the others as in the delay pattern."""
    delays_R = _array(config.delays)
    frames_T = np.arange(num_frames)
    step_KT = np.concatenate([1 + frames_T[None], 1 + num_frames + frames_T + delays_R[:, None]])
    longest = int(delays_R.max())
    num_steps = 2 * num_frames + longest + 1
    return Pattern(step_KT, num_steps, num_steps - (longest - int(delays_R.min())))


def _musiclm(config: MusicLMPatternConfig, num_codebooks: int, num_frames: int) -> Pattern:
    """Group after group of codebooks, each frame by frame, one code per step (MusicLM, arXiv 2301.11325)."""
    size = config.group_by
    codebooks_K1, frames_T = np.arange(num_codebooks)[:, None], np.arange(num_frames)
    step_KT = 1 + codebooks_K1 // size * size * num_frames + frames_T * size + codebooks_K1 % size
    num_steps = num_codebooks * num_frames + 1
    return Pattern(step_KT, num_steps, num_steps)


def _array(numbers: tuple[int, ...] | None) -> np.ndarray:
    assert numbers is not None, "the config must be resolved first"
    return np.asarray(numbers, dtype=np.int64)
