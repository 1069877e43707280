"""Codebook patterns: which step of the model's sequence holds which code.

The five of AudioCraft (audiocraft/modules/codebooks_patterns.py in facebookresearch/audiocraft), under its names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from musicgen_core.config.data import CodecSpec


@dataclass(frozen=True, kw_only=True)
class DelayPatternConfig:
    """MusicGen's own: a step holds one frame of each codebook, the finer ones later. T + largest delay + 1 steps."""

    kind: Literal["delay"] = "delay"

    delays: tuple[int, ...] | None = None
    """Frames that each codebook runs late, ascending; null: 0, 1, 2, ..., and 0, 0, 1, 1, ... where left and right have
    codebooks of their own (codec.num_channels: 2 with a mono codec)."""

    flatten_first: int = 0
    """So many first frames are written out one code per step."""

    empty_initial: int = 0
    """So many steps without any code follow the start."""


@dataclass(frozen=True, kw_only=True)
class ParallelPatternConfig:
    """All codebooks of a frame in one step: fastest, and blind to how they depend on each other. T + 1 steps."""

    kind: Literal["parallel"]

    empty_initial: int = 0
    """So many steps without any code follow the start."""


@dataclass(frozen=True, kw_only=True)
class UnrollPatternConfig:
    """Codebooks of a frame one after the other: exact, and slowest. K x T + 1 steps unless some share a step."""

    kind: Literal["unroll"]

    flattening: tuple[int, ...] | None = None
    """Inner step of each codebook, ascending from 0; those with the same number share a step. null: 0, 1, 2, ..."""

    delays: tuple[int, ...] | None = None
    """Frames that each codebook runs late, ascending, the same within an inner step; null: none."""


@dataclass(frozen=True, kw_only=True)
class CoarseFirstPatternConfig:
    """The first codebook of all frames, then the others together. 2 x T + largest delay + 1 steps."""

    kind: Literal["coarse_first"]

    delays: tuple[int, ...] | None = None
    """Frames that the second and each further codebook runs late, ascending: one fewer than codebooks; null: none."""


@dataclass(frozen=True, kw_only=True)
class MusicLMPatternConfig:
    """All frames of the first codebooks, one code per step, then all frames of the next ones. K x T + 1 steps."""

    kind: Literal["musiclm"]

    group_by: int = 2
    """Codebooks per group; must divide their number."""


PatternConfig = (
    DelayPatternConfig | ParallelPatternConfig | UnrollPatternConfig | CoarseFirstPatternConfig | MusicLMPatternConfig
)

MAX_DELAY = 1 << 20


def resolve_pattern(pattern: PatternConfig, codec: CodecSpec) -> PatternConfig:
    """Fill in what the codec decides. Raises ValueError that names the key, both numbers and the remedy."""
    count = codec.num_codebooks
    if isinstance(pattern, DelayPatternConfig | ParallelPatternConfig) and pattern.empty_initial < 0:
        raise ValueError(
            f"model.pattern.empty_initial is {pattern.empty_initial}; it must be 0 or more: without the start step "
            "nothing predicts the first codes"
        )
    if isinstance(pattern, DelayPatternConfig):
        if pattern.flatten_first < 0:
            raise ValueError(f"model.pattern.flatten_first is {pattern.flatten_first}; it must be 0 or more")
        late = pattern.delays if pattern.delays is not None else default_delays(codec)
        return replace(pattern, delays=_check_delays(late, count, "codebooks"))
    if isinstance(pattern, UnrollPatternConfig):
        late = pattern.delays if pattern.delays is not None else (0,) * count
        flattening = pattern.flattening if pattern.flattening is not None else tuple(range(count))
        return replace(
            pattern,
            delays=_check_delays(late, count, "codebooks"),
            flattening=_check_flattening(flattening, late, count),
        )
    if isinstance(pattern, CoarseFirstPatternConfig):
        if count < 2:
            raise ValueError(
                f"model.pattern.kind coarse_first needs 2 codebooks or more, codec {codec.name} has {count}; "
                "choose delay"
            )
        late = pattern.delays if pattern.delays is not None else (0,) * (count - 1)
        return replace(pattern, delays=_check_delays(late, count - 1, "codebooks after the first"))
    if isinstance(pattern, MusicLMPatternConfig) and (pattern.group_by < 1 or count % pattern.group_by):
        raise ValueError(
            f"model.pattern.group_by is {pattern.group_by}, but codec {codec.name} has {count} codebooks; "
            "give a number that divides them"
        )
    return pattern


def default_delays(codec: CodecSpec) -> tuple[int, ...]:
    """Those of MusicGen: 0, 1, 2, ...; left and right of an interleaved codec together: 0, 0, 1, 1, ..."""
    channels = codec.num_channels if codec.interleaved else 1
    return tuple(k // channels for k in range(codec.num_codebooks))


def _check_delays(delays: Sequence[int], count: int, what: str) -> tuple[int, ...]:
    if len(delays) != count:
        raise ValueError(f"model.pattern.delays: {len(delays)} delays for {count} {what}; give one for each")
    if list(delays) != sorted(delays) or min(delays) < 0 or max(delays) > MAX_DELAY:
        raise ValueError(f"model.pattern.delays: {list(delays)} must ascend and lie in 0..{MAX_DELAY}")
    return tuple(delays)


def _check_flattening(flattening: Sequence[int], delays: Sequence[int], count: int) -> tuple[int, ...]:
    if len(flattening) != count:
        raise ValueError(
            f"model.pattern.flattening: {len(flattening)} inner steps for {count} codebooks; give one for each"
        )
    if list(flattening) != sorted(flattening) or min(flattening) < 0 or max(flattening) > 4 * count:
        raise ValueError(f"model.pattern.flattening: {list(flattening)} must ascend and lie in 0..{4 * count}")
    for k in range(1, count):
        if flattening[k] == flattening[k - 1] and delays[k] != delays[k - 1]:
            raise ValueError(
                f"model.pattern: codebooks {k - 1} and {k} share inner step {flattening[k]}, but their delays are "
                f"{delays[k - 1]} and {delays[k]}; give them the same delay, or steps of their own"
            )
    return tuple(flattening)
