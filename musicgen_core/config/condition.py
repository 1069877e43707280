"""What the language model is conditioned on besides words, and how a condition enters it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from musicgen_core.config.separation import SeparationConfig

Fusion = Literal["cross", "prepend", "sum", "input_interpolate"]
"""How a condition enters the model (AudioCraft's names). `cross`: by cross-attention. `prepend`: as steps before the
codes, the last named in front. `sum`: its vectors are summed and added to every step. `input_interpolate`: stretched to
the length of the sequence (nearest neighbour) and added."""


@dataclass(frozen=True, kw_only=True)
class AttributeConditionConfig:
    """A field of a track's metadata, such as `key`, `genre` or `artist`: each value has its own learned vector."""

    kind: Literal["attribute"]

    fusion: Fusion = "cross"

    num_bins: int = 256
    """Rows of the table; two values share a row when their SHA-256 agree modulo this."""

    dim: int = 64
    """Width of a row before it is projected to the model's width."""

    dropout: float = 0.0
    """Probability, per sample, that this condition alone is dropped in training."""


@dataclass(frozen=True, kw_only=True)
class NumberConditionConfig:
    """A number of a track's metadata, such as `bpm`: learned vectors at fixed values, interpolated between them."""

    kind: Literal["number"]

    fusion: Fusion = "cross"

    low: float = 40.0
    """Value of the first vector; smaller ones count as this."""

    high: float = 240.0
    """Value of the last vector; larger ones count as this."""

    num_bins: int = 64
    """Vectors, spaced evenly in the logarithm: a tempo and its double are as far apart anywhere."""

    dim: int = 64
    dropout: float = 0.0
    """Probability, per sample, that this condition alone is dropped in training."""


@dataclass(frozen=True, kw_only=True)
class ChromaConditionConfig:
    """Melody: which of the twelve pitch classes is loudest, frame by frame (arXiv 2306.05284, section 2.3)."""

    kind: Literal["chroma"]

    fusion: Fusion = "prepend"

    sample_rate_hz: int = 32_000
    """Rate at which chroma is computed; audio of another rate is resampled."""

    radix2_exp: int = 14
    """Windows of 2^14 samples, hops of a quarter of that."""

    num_frames: int = 0
    """Frames of chroma in a condition; 0: as many as a training segment has (30 s at 32 kHz: 235). Longer melodies are
    cut, shorter ones repeated; in training, the end of a track is padded."""

    argmax: bool = True
    """Keep only the loudest pitch class of a frame, so that timbre does not leak."""

    absent: Literal["null", "silence"] = "null"
    """What a sample without a melody gets: zeros, or the chroma of silence, which is what MusicGen's released melody
    models get at generation from AudioCraft and transformers."""

    separate: SeparationConfig | None = None
    """Follow some stems only, as AudioCraft does; null: the whole mix. Without a GPU it takes about as long, for each
    sample, as the music lasts."""

    dropout: float = 0.5
    """Probability, per sample, that this condition alone is dropped in training."""


@dataclass(frozen=True, kw_only=True)
class ClapConditionConfig:
    """CLAP's joint embedding of audio and text (arXiv 2211.06687), quantised: trained on the audio of each segment,
    asked with words or with a recording."""

    kind: Literal["clap"]

    path: str
    """Local folder with transformers' ClapModel, or a hub id that `musicgen fetch` has resolved, such as
    laion/clap-htsat-unfused."""

    revision: str | None = None
    """Commit hash of the hub id; required when `path` is a hub id."""

    fusion: Fusion = "cross"

    stride_sec: float = 1.0
    """Time between the windows of 10 s whose embeddings are averaged."""

    num_levels: int = 12
    """Levels of the residual quantiser."""

    num_entries: int = 1024
    """Entries of each level."""

    dropout: float = 0.0
    """Probability, per sample, that this condition alone is dropped in training."""


ConditionConfig = AttributeConditionConfig | NumberConditionConfig | ChromaConditionConfig | ClapConditionConfig

AUDIO_KINDS = ("chroma", "clap")
"""Kinds that condition on a track's own audio."""


def reads_audio(conditions: Mapping[str, ConditionConfig]) -> bool:
    """Whether the audio of a segment is needed beside its codes."""
    return any(condition.kind in AUDIO_KINDS for condition in conditions.values())


def fit_to_segment(conditions: Mapping[str, ConditionConfig], segment_sec: float) -> dict[str, ConditionConfig]:
    """Set the lengths that are left to the training's segment."""
    return {name: _fit(condition, segment_sec) for name, condition in conditions.items()}


def _fit(condition: ConditionConfig, segment_sec: float) -> ConditionConfig:
    if isinstance(condition, ChromaConditionConfig) and condition.num_frames == 0:
        hop = 2**condition.radix2_exp // 4
        return replace(condition, num_frames=1 + round(segment_sec * condition.sample_rate_hz) // hop)
    return condition
