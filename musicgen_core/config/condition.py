"""What the language model is conditioned on besides words, and how a condition enters it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from musicgen_core.config.extractor import ExtractorConfig, MelExtractorConfig
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

    absent: Literal["null", "silence"] = "silence"
    """What a sample without a melody gets. `silence`: the chroma of silence, as AudioCraft's `generate` and
    transformers give it, so that an export generates there what it does here. `null`: zeros, as in AudioCraft's
    training; neither of them knows that at generation."""

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


@dataclass(frozen=True, kw_only=True)
class StyleConditionConfig:
    """The style of a short excerpt, through a narrow residual quantiser (MusicGen-Style, arXiv 2407.12563): trained on
    an excerpt of each segment's own audio, asked with any recording. Defaults are AudioCraft's."""

    kind: Literal["style"]

    fusion: Fusion = "prepend"

    extractor: ExtractorConfig = field(default_factory=MelExtractorConfig)
    """What hears the excerpt; frozen."""

    min_sec: float = 1.5
    """Shortest excerpt in training, and what a recording must last."""

    max_sec: float = 4.5
    """Longest excerpt in training."""

    eval_sec: float = 3.0
    """Length of the excerpt in validation and generation, from the middle of the recording."""

    dim: int = 512
    """Width of the encoder between features and quantiser."""

    num_heads: int = 8

    num_layers: int = 8
    """Of the encoder; 0: the features go to the quantiser by a projection alone."""

    encoder_dropout: float = 0.0
    """Inside the encoder. AudioCraft's runs at 0.1; above 0 losses differ by the number of processes."""

    num_levels: int = 6
    """Levels of the residual quantiser; in training each sample uses a random number of them, from 1."""

    eval_levels: int = 3
    """... in validation and generation. Fewer follow the recording less closely."""

    num_entries: int = 1024
    """Entries of each level."""

    downsample: int = 15
    """Every so many-th frame becomes a position: 75 Hz become 5 Hz."""

    mask_excerpt: bool = True
    """Leave the frames of the excerpt out of the loss, so that the model cannot learn to copy what it hears."""

    dropout: float = 0.4
    """Probability, per sample, that this condition alone is dropped in training."""


ConditionConfig = (
    AttributeConditionConfig
    | NumberConditionConfig
    | ChromaConditionConfig
    | ClapConditionConfig
    | StyleConditionConfig
)

AUDIO_KINDS = ("chroma", "clap", "style")
"""Kinds that condition on a track's own audio."""


def reads_audio(conditions: Mapping[str, ConditionConfig]) -> bool:
    """Whether the audio of a segment is needed beside its codes."""
    return any(condition.kind in AUDIO_KINDS for condition in conditions.values())


def hides_frames(conditions: Mapping[str, ConditionConfig]) -> bool:
    """Whether frames of a segment may be left out of the loss."""
    return any(isinstance(item, StyleConditionConfig) and item.mask_excerpt for item in conditions.values())


def fit_to_segment(conditions: Mapping[str, ConditionConfig], segment_sec: float) -> dict[str, ConditionConfig]:
    """Set the lengths that are left to the training's segment."""
    return {name: _fit(condition, segment_sec) for name, condition in conditions.items()}


def _fit(condition: ConditionConfig, segment_sec: float) -> ConditionConfig:
    if isinstance(condition, ChromaConditionConfig) and condition.num_frames == 0:
        hop = 2**condition.radix2_exp // 4
        return replace(condition, num_frames=1 + round(segment_sec * condition.sample_rate_hz) // hop)
    return condition


def check_style(config: StyleConditionConfig, segment_sec: float) -> None:
    """Raise ValueError, one line that goes on from the name of the condition, unless its numbers fit each other."""
    if not 0 < config.min_sec <= config.max_sec:
        raise ValueError(f".min_sec: {config.min_sec:g} must be above 0 and at most max_sec {config.max_sec:g}")
    if config.max_sec > segment_sec:
        raise ValueError(
            f".max_sec: excerpts of {config.max_sec:g} s are longer than a segment, {segment_sec:g} s; lower it, or "
            "raise training.segment_sec"
        )
    if not config.min_sec <= config.eval_sec <= config.max_sec:
        raise ValueError(
            f".eval_sec: {config.eval_sec:g} must lie between min_sec {config.min_sec:g} and max_sec "
            f"{config.max_sec:g}, as the excerpts of the training"
        )
    if not 1 <= config.eval_levels <= config.num_levels:
        raise ValueError(f".eval_levels: {config.eval_levels} must lie between 1 and num_levels {config.num_levels}")
    if config.num_heads < 1 or config.dim < 4 or config.dim % 2 or config.dim % config.num_heads:
        raise ValueError(f".dim: {config.dim} must be even, at least 4 and a multiple of num_heads {config.num_heads}")
    for name, low in (("num_layers", 0), ("num_entries", 2), ("downsample", 1)):
        if getattr(config, name) < low:
            raise ValueError(f".{name}: {getattr(config, name)} must be at least {low}")
    if not 0 <= config.encoder_dropout < 1:
        raise ValueError(f".encoder_dropout: {config.encoder_dropout} must lie in [0, 1)")
    mel = config.extractor
    if isinstance(mel, MelExtractorConfig):
        if min(mel.sample_rate_hz, mel.frame_rate_hz, mel.num_mels) < 1 or mel.sample_rate_hz % mel.frame_rate_hz:
            raise ValueError(
                f".extractor.frame_rate_hz: {mel.frame_rate_hz} must divide sample_rate_hz {mel.sample_rate_hz}, and "
                "both and num_mels be above 0"
            )
        if not 16 <= mel.window_samples <= config.min_sec * mel.sample_rate_hz:
            raise ValueError(
                f".extractor.window_samples: {mel.window_samples} must be at least 16 and fit into min_sec, "
                f"{config.min_sec * mel.sample_rate_hz:g} samples"
            )
