"""Any codebook pattern, for hypothesis."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
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

MAX_CODEBOOKS = 16


@st.composite
def patterns(draw: st.DrawFn, max_codebooks: int = MAX_CODEBOOKS) -> tuple[PatternConfig, int]:
    """(resolved pattern, number of codebooks)"""
    count = draw(st.integers(1, max_codebooks))
    kinds = [delay_patterns(count), parallel_patterns(), unroll_patterns(count), musiclm_patterns(count)]
    if count > 1:
        kinds.append(coarse_first_patterns(count))
    pattern = draw(st.one_of(kinds))
    return resolve_pattern(pattern, replace(CODEC, num_codebooks=count)), count


def ascending(count: int, most: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(0, most), min_size=count, max_size=count).map(lambda found: tuple(sorted(found)))


def delay_patterns(count: int) -> st.SearchStrategy[PatternConfig]:
    few = st.integers(0, 4)
    return st.builds(DelayPatternConfig, delays=ascending(count, 9), flatten_first=few, empty_initial=few)


def parallel_patterns() -> st.SearchStrategy[PatternConfig]:
    return st.builds(ParallelPatternConfig, kind=st.just("parallel"), empty_initial=st.integers(0, 4))


def coarse_first_patterns(count: int) -> st.SearchStrategy[PatternConfig]:
    return st.builds(CoarseFirstPatternConfig, kind=st.just("coarse_first"), delays=st.none() | ascending(count - 1, 9))


def musiclm_patterns(count: int) -> st.SearchStrategy[PatternConfig]:
    sizes = st.sampled_from([size for size in range(1, count + 1) if count % size == 0])
    return st.builds(MusicLMPatternConfig, kind=st.just("musiclm"), group_by=sizes)


@st.composite
def unroll_patterns(draw: st.DrawFn, count: int) -> PatternConfig:
    flattening = draw(st.none() | ascending(count, count + 2))
    inner = flattening or tuple(range(count))
    late = dict(zip(sorted(set(inner)), draw(ascending(len(set(inner)), 9)), strict=True))
    delays = draw(st.none() | st.just(tuple(late[f] for f in inner)))
    return UnrollPatternConfig(kind="unroll", flattening=flattening, delays=delays)
