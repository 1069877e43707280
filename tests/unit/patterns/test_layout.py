"""Index tables of every pattern: worked by hand for K = 4, T = 5, and against the definition for any K and T."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pattern_strategies import patterns
from slow_patterns import slow_layout, slow_steps, valid_length
from small_models import CODEC

from musicgen_core.config.pattern import (
    CoarseFirstPatternConfig,
    DelayPatternConfig,
    MusicLMPatternConfig,
    ParallelPatternConfig,
    PatternConfig,
    UnrollPatternConfig,
    resolve_pattern,
)
from musicgen_core.patterns.apply import predicting_steps
from musicgen_core.patterns.layout import Pattern, build_pattern

DELAY = DelayPatternConfig()
STEREO = DelayPatternConfig(delays=(0, 0, 1, 1, 2, 2, 3, 3))
PARALLEL = ParallelPatternConfig(kind="parallel")
UNROLL = UnrollPatternConfig(kind="unroll")
PARTLY = UnrollPatternConfig(kind="unroll", flattening=(0, 1, 1, 1), delays=(0, 2, 2, 2))
COARSE = CoarseFirstPatternConfig(kind="coarse_first")
COARSE_LATE = CoarseFirstPatternConfig(kind="coarse_first", delays=(0, 1, 2))
MUSICLM = MusicLMPatternConfig(kind="musiclm")
FLAT_2 = DelayPatternConfig(flatten_first=2)
EMPTY_2 = DelayPatternConfig(empty_initial=2)

# What each step holds, S the special token; and how many of those steps training keeps.
TABLES: list[tuple[PatternConfig, list[str], int]] = [
    (DELAY, ["S 0 1 2 3 4 S S S", "S S 0 1 2 3 4 S S", "S S S 0 1 2 3 4 S", "S S S S 0 1 2 3 4"], 6),
    (
        STEREO,
        ["S 0 1 2 3 4 S S S"] * 2 + ["S S 0 1 2 3 4 S S"] * 2 + ["S S S 0 1 2 3 4 S"] * 2 + ["S S S S 0 1 2 3 4"] * 2,
        6,
    ),
    (PARALLEL, ["S 0 1 2 3 4"] * 4, 6),
    (
        UNROLL,
        [
            "S 0 S S S 1 S S S 2 S S S 3 S S S 4 S S S",
            "S S 0 S S S 1 S S S 2 S S S 3 S S S 4 S S",
            "S S S 0 S S S 1 S S S 2 S S S 3 S S S 4 S",
            "S S S S 0 S S S 1 S S S 2 S S S 3 S S S 4",
        ],
        21,
    ),
    # within the time of one frame the delayed codebooks come before the first one
    (PARTLY, ["S 0 1 S 2 S 3 S 4 S S S S"] + ["S S S 0 S 1 S 2 S 3 S 4 S"] * 3, 11),
    (COARSE, ["S 0 1 2 3 4 S S S S S"] + ["S S S S S S 0 1 2 3 4"] * 3, 11),
    (
        COARSE_LATE,
        [
            "S 0 1 2 3 4 S S S S S S S",
            "S S S S S S 0 1 2 3 4 S S",
            "S S S S S S S 0 1 2 3 4 S",
            "S S S S S S S S 0 1 2 3 4",
        ],
        11,
    ),
    (
        MUSICLM,
        [
            "S 0 S 1 S 2 S 3 S 4 S S S S S S S S S S S",
            "S S 0 S 1 S 2 S 3 S 4 S S S S S S S S S S",
            "S S S S S S S S S S S 0 S 1 S 2 S 3 S 4 S",
            "S S S S S S S S S S S S 0 S 1 S 2 S 3 S 4",
        ],
        21,
    ),
    (
        FLAT_2,
        [
            "S 0 S S S 1 S S S 2 3 4 S S S",
            "S S 0 S S S 1 S S S 2 3 4 S S",
            "S S S 0 S S S 1 S S S 2 3 4 S",
            "S S S S 0 S S S 1 S S S 2 3 4",
        ],
        12,
    ),
    (
        EMPTY_2,
        ["S S S 0 1 2 3 4 S S S", "S S S S 0 1 2 3 4 S S", "S S S S S 0 1 2 3 4 S", "S S S S S S 0 1 2 3 4"],
        8,
    ),
]

# The step whose logits predict frames 0..4 of each codebook, in the full sequence; and which of them training keeps.
LOGIT_STEPS: list[tuple[PatternConfig, list[list[int]], list[str]]] = [
    (DELAY, [[k + t for t in range(5)] for k in range(4)], ["11111", "11110", "11100", "11000"]),
    (
        STEREO,
        [[k // 2 + t for t in range(5)] for k in range(8)],
        ["11111"] * 2 + ["11110"] * 2 + ["11100"] * 2 + ["11000"] * 2,
    ),
    (PARALLEL, [[0, 1, 2, 3, 4]] * 4, ["11111"] * 4),
    (UNROLL, [[4 * t + k for t in range(5)] for k in range(4)], ["11111"] * 4),
    (PARTLY, [[0, 1, 3, 5, 7]] + [[2, 4, 6, 8, 10]] * 3, ["11111"] + ["11110"] * 3),
    (COARSE, [[0, 1, 2, 3, 4]] + [[5, 6, 7, 8, 9]] * 3, ["11111"] * 4),
    (
        COARSE_LATE,
        [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [6, 7, 8, 9, 10], [7, 8, 9, 10, 11]],
        ["11111", "11111", "11110", "11100"],
    ),
    (MUSICLM, [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9], [10, 12, 14, 16, 18], [11, 13, 15, 17, 19]], ["11111"] * 4),
]


def make(config: PatternConfig, num_codebooks: int, num_frames: int) -> Pattern:
    return build_pattern(
        resolve_pattern(config, replace(CODEC, num_codebooks=num_codebooks)), num_codebooks, num_frames
    )


@pytest.mark.parametrize(("config", "rows", "num_valid"), TABLES)
def test_steps_hold_the_frames_of_the_worked_tables(config: PatternConfig, rows: list[str], num_valid: int) -> None:
    pattern = make(config, len(rows), 5)
    expected = [[-1 if cell == "S" else int(cell) for cell in row.split()] for row in rows]
    assert pattern.frame_KS(keep_only_valid=False).tolist() == expected
    assert pattern.frame_KS(keep_only_valid=True).tolist() == [row[:num_valid] for row in expected]


@pytest.mark.parametrize(("config", "steps", "kept"), LOGIT_STEPS)
def test_each_code_is_predicted_by_the_step_before_it(
    config: PatternConfig, steps: list[list[int]], kept: list[str]
) -> None:
    pattern, cpu = make(config, len(steps), 5), torch.device("cpu")
    step_KT, mask_KT = predicting_steps(pattern, pattern.num_steps, cpu)
    assert step_KT.tolist() == steps
    assert mask_KT.all()
    step_KT, mask_KT = predicting_steps(pattern, pattern.num_valid_steps, cpu)
    assert ["".join(str(int(m)) for m in row) for row in mask_KT] == kept
    assert torch.equal(step_KT[mask_KT], torch.tensor(steps)[mask_KT])
    # the last step of a training sequence is an input whose output predicts nothing
    assert step_KT.max() < pattern.num_valid_steps - 1


@pytest.mark.parametrize(
    ("config", "num_codebooks", "full", "valid"),
    [
        (DELAY, 4, 1504, 1501),
        (STEREO, 8, 1504, 1501),
        (DELAY, 9, 1509, 1501),
        (PARALLEL, 4, 1501, 1501),
        (COARSE, 4, 3001, 3001),
        (UNROLL, 4, 6001, 6001),
        (MUSICLM, 4, 6001, 6001),
    ],
)
def test_lengths_at_30_seconds(config: PatternConfig, num_codebooks: int, full: int, valid: int) -> None:
    pattern = make(config, num_codebooks, 1500)
    assert (pattern.length(False), pattern.length(True)) == (full, valid)


@given(patterns(), st.integers(1, 24))
def test_tables_and_lengths_are_those_of_the_definition(drawn: tuple[PatternConfig, int], num_frames: int) -> None:
    config, num_codebooks = drawn
    pattern = build_pattern(config, num_codebooks, num_frames)
    steps = slow_layout(config, num_codebooks, num_frames)
    np.testing.assert_array_equal(pattern.step_KT, slow_steps(steps, num_codebooks, num_frames))
    assert pattern.step_KT.dtype == np.int64
    assert (np.diff(pattern.step_KT, axis=1) > 0).all()
    assert pattern.num_steps == len(steps)
    assert pattern.num_valid_steps == valid_length(steps, num_frames)


def test_a_pattern_is_built_once() -> None:
    assert make(UNROLL, 4, 7) is make(UNROLL, 4, 7)


@pytest.mark.parametrize(
    ("config", "num_frames", "count"),
    [
        (UNROLL, 16_384, "65537"),
        (MUSICLM, 20_000, "80001"),
        (DELAY, 65_533, "65537"),
        (DELAY, 10**12, "more than 10{12}"),
    ],
)
def test_too_many_steps_are_refused(config: PatternConfig, num_frames: int, count: str) -> None:
    message = (
        f"{num_frames} frames of 4 codebooks are {count} steps in the pattern {config.kind}, above the limit of 65536"
    )
    with pytest.raises(ValueError, match=message):
        make(config, 4, num_frames)
    assert make(config, 4, 16_383).num_steps <= 65_536


def test_no_frames_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1 frame, got 0"):
        make(DELAY, 2, 0)
