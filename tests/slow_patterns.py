"""Codebook patterns by their definition: for each step of the sequence, the list of (frame, codebook) it holds.

Frames may lie past the end, as in AudioCraft; `valid_length` cuts as many steps as such frames come after the last real
one. Written from the description in docs/patterns.md, one coordinate at a time, as the reference for the tables.
"""

from __future__ import annotations

import numpy as np

from musicgen_core.config.pattern import (
    CoarseFirstPatternConfig,
    DelayPatternConfig,
    MusicLMPatternConfig,
    ParallelPatternConfig,
    PatternConfig,
    UnrollPatternConfig,
)

Steps = list[list[tuple[int, int]]]


def slow_layout(config: PatternConfig, num_codebooks: int, num_frames: int) -> Steps:
    if isinstance(config, ParallelPatternConfig):
        config = DelayPatternConfig(delays=(0,) * num_codebooks, empty_initial=config.empty_initial)
    if isinstance(config, DelayPatternConfig):
        return _delay(config, num_frames)
    if isinstance(config, UnrollPatternConfig):
        return _unroll(config, num_frames)
    if isinstance(config, CoarseFirstPatternConfig):
        return _coarse_first(config, num_frames)
    assert isinstance(config, MusicLMPatternConfig)
    steps: Steps = [[]]
    for first in range(0, num_codebooks, config.group_by):
        for t in range(num_frames):
            for k in range(first, first + config.group_by):
                steps.append([(t, k)])
    return steps


def valid_length(steps: Steps, num_frames: int) -> int:
    last = max(t for step in steps for t, _ in step)
    return len(steps) - (last + 1 - num_frames)


def slow_interleave(codes_BKT: np.ndarray, steps: Steps, num_steps: int, special: int) -> tuple[np.ndarray, np.ndarray]:
    """The sequence [B, K, S] and the mask [K, S], one cell at a time."""
    batch, num_codebooks, num_frames = codes_BKT.shape
    sequence = np.full((batch, num_codebooks, num_steps), special, codes_BKT.dtype)
    mask = np.zeros((num_codebooks, num_steps), dtype=bool)
    for s, step in enumerate(steps[:num_steps]):
        for t, k in step:
            if t < num_frames:
                sequence[:, k, s] = codes_BKT[:, k, t]
                mask[k, s] = True
    return sequence, mask


def slow_steps(steps: Steps, num_codebooks: int, num_frames: int) -> np.ndarray:
    """step_KT: where each code stands; every code stands once."""
    table = np.full((num_codebooks, num_frames), -1)
    for s, step in enumerate(steps):
        for t, k in step:
            if t < num_frames:
                assert table[k, t] == -1
                table[k, t] = s
    assert (table > 0).all()
    return table


def _delay(config: DelayPatternConfig, num_frames: int) -> Steps:
    assert config.delays is not None
    steps: Steps = [[] for _ in range(1 + config.empty_initial)]
    for t in range(min(num_frames, config.flatten_first)):
        for k in range(len(config.delays)):
            steps.append([(t, k)])
    for t in range(config.flatten_first, num_frames + max(config.delays)):
        steps.append([(t - late, k) for k, late in enumerate(config.delays) if t - late >= config.flatten_first])
    return steps


def _unroll(config: UnrollPatternConfig, num_frames: int) -> Steps:
    assert config.delays is not None
    assert config.flattening is not None
    end = num_frames + max(config.delays)
    timed: list[tuple[int, list[tuple[int, int]]]] = []
    for t in range(end):
        for inner in range(max(config.flattening) + 1):
            group = [k for k, f in enumerate(config.flattening) if f == inner]
            if not group:
                timed.append((t, []))
            elif t + config.delays[group[0]] < end:
                timed.append((t + config.delays[group[0]], [(t, k) for k in group]))
    return [[], *(step for _, step in sorted(timed))]


def _coarse_first(config: CoarseFirstPatternConfig, num_frames: int) -> Steps:
    assert config.delays is not None
    steps: Steps = [[], *([(t, 0)] for t in range(num_frames))]
    for t in range(num_frames + max(config.delays)):
        steps.append([(t - late, k + 1) for k, late in enumerate(config.delays) if t >= late])
    return steps
