"""Patterns that do not fit a codec end in one line with both numbers."""

from dataclasses import replace

import pytest
from small_models import CODEC

from musicgen_core.config.codec_spec import check_fit
from musicgen_core.config.load import parse_config, resolve_runs
from musicgen_core.config.pattern import (
    CoarseFirstPatternConfig,
    DelayPatternConfig,
    MusicLMPatternConfig,
    ParallelPatternConfig,
    PatternConfig,
    UnrollPatternConfig,
    resolve_pattern,
)

UNROLL = UnrollPatternConfig(kind="unroll")
COARSE = CoarseFirstPatternConfig(kind="coarse_first")


def test_what_is_left_out_follows_the_codec() -> None:
    assert resolve_pattern(DelayPatternConfig(), CODEC) == DelayPatternConfig(delays=(0, 1, 2, 3))
    stereo = replace(CODEC, num_codebooks=8, num_channels=2, interleaved=True)
    assert resolve_pattern(DelayPatternConfig(), stereo) == DelayPatternConfig(delays=(0, 0, 1, 1, 2, 2, 3, 3))
    joint = replace(CODEC, num_codebooks=3, num_channels=2)
    assert resolve_pattern(DelayPatternConfig(), joint) == DelayPatternConfig(delays=(0, 1, 2))
    assert resolve_pattern(UNROLL, CODEC) == replace(UNROLL, flattening=(0, 1, 2, 3), delays=(0, 0, 0, 0))
    assert resolve_pattern(COARSE, CODEC) == replace(COARSE, delays=(0, 0, 0))


def test_what_is_resolved_stays() -> None:
    for pattern in (DelayPatternConfig(), UNROLL, COARSE, MusicLMPatternConfig(kind="musiclm")):
        resolved = resolve_pattern(pattern, CODEC)
        assert resolve_pattern(resolved, CODEC) == resolved


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (DelayPatternConfig(delays=(0, 1)), r"model\.pattern\.delays: 2 delays for 4 codebooks"),
        (DelayPatternConfig(delays=(0, 2, 1, 3)), r"\[0, 2, 1, 3\] must ascend"),
        (DelayPatternConfig(delays=(-1, 0, 0, 0)), r"\[-1, 0, 0, 0\] must ascend and lie in 0\.\."),
        (DelayPatternConfig(delays=(0, 0, 0, 1 << 21)), "must ascend and lie in 0.."),
        (DelayPatternConfig(flatten_first=-1), "flatten_first is -1; it must be 0 or more"),
        (DelayPatternConfig(empty_initial=-1), "empty_initial is -1; .* nothing predicts the first codes"),
        (ParallelPatternConfig(kind="parallel", empty_initial=-1), "empty_initial is -1"),
        (replace(UNROLL, flattening=(0, 1)), "2 inner steps for 4 codebooks"),
        (replace(UNROLL, flattening=(0, 2, 1, 3)), r"flattening: \[0, 2, 1, 3\] must ascend"),
        (replace(UNROLL, flattening=(0, 1, 2, 99)), r"lie in 0\.\.16"),
        (replace(UNROLL, delays=(0,)), "1 delays for 4 codebooks"),
        (
            replace(UNROLL, flattening=(0, 1, 1, 2), delays=(0, 1, 2, 2)),
            "codebooks 1 and 2 share inner step 1, but their delays are 1 and 2",
        ),
        (replace(COARSE, delays=(0, 0, 0, 0)), "4 delays for 3 codebooks after the first"),
        (MusicLMPatternConfig(kind="musiclm", group_by=3), "group_by is 3, but codec test has 4 codebooks"),
        (MusicLMPatternConfig(kind="musiclm", group_by=0), "group_by is 0"),
    ],
)
def test_what_does_not_fit_is_named(pattern: PatternConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_pattern(pattern, CODEC)


def test_coarse_first_needs_a_second_codebook() -> None:
    with pytest.raises(ValueError, match="needs 2 codebooks or more, codec test has 1; choose delay"):
        resolve_pattern(COARSE, replace(CODEC, num_codebooks=1))


def test_the_plan_refuses_a_run_whose_pattern_does_not_fit() -> None:
    pattern = {"kind": "musiclm", "group_by": 3}
    root = parse_config({"corpora": {"mine": {"path": "music"}}, "runs": {"a": {"model": {"pattern": pattern}}}})
    with pytest.raises(ValueError, match=r"runs\.a: model\.pattern\.group_by is 3, but codec test has 4"):
        check_fit(resolve_runs(root)["a"], CODEC)


def test_a_run_may_choose_another_pattern_than_the_base() -> None:
    base = {"delays": [0, 2, 4, 6]}
    runs = {"a": {}, "b": {"model": {"pattern": {"kind": "unroll"}}}, "c": {"model": {"pattern": {"flatten_first": 1}}}}
    found = resolve_runs(parse_config({"corpora": {"m": {"path": "x"}}, "model": {"pattern": base}, "runs": runs}))
    assert found["a"].model.pattern == DelayPatternConfig(delays=(0, 2, 4, 6))
    assert found["b"].model.pattern == UNROLL
    assert found["c"].model.pattern == DelayPatternConfig(delays=(0, 2, 4, 6), flatten_first=1)
