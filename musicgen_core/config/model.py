"""The language model and what conditions it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from musicgen_core.config.condition import ConditionConfig, Fusion
from musicgen_core.config.pattern import DelayPatternConfig, PatternConfig

SIZES: dict[str, tuple[int, int, int]] = {
    # dim, heads, layers; all but `tiny` are MusicGen's (AudioCraft config/model/lm/model_scale)
    "tiny": (128, 4, 4),
    "small": (1024, 16, 24),
    "medium": (1536, 24, 48),
    "large": (2048, 32, 48),
}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """MusicGen's transformer over codebook tokens."""

    size: Literal["tiny", "small", "medium", "large"] = "tiny"
    """Sets width, heads and layers; the three keys below override it one by one."""

    dim: int | None = None
    num_heads: int | None = None
    num_layers: int | None = None

    num_codebooks: int | None = None
    """Expected codebooks; null: the codec's. A codec that differs is an error."""

    card: int | None = None
    """Expected entries per codebook; null: the codec's. A codec that differs is an error."""

    pattern: PatternConfig = field(default_factory=DelayPatternConfig)
    """Which step of the sequence holds which code."""

    dropout: float = 0.0
    """Dropout inside the transformer; MusicGen trains with 0."""

    mask_condition_padding: bool | None = None
    """Hide padded text positions from cross-attention, as transformers does; AudioCraft lets the model see them as
    zeros. null: as the weights were trained that the run starts from (`training.init_from`), else true. Padding in a
    prefix is always seen, as zeros."""

    conditions: dict[str, ConditionConfig] = field(default_factory=dict)
    """Conditions besides the words: the field of a track's metadata that each reads (`key`, `bpm`, `genre`, ...), or
    `self_wav`, the melody of a recording."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(dim, num_heads, num_layers) after overrides."""
        dim, heads, layers = SIZES[self.size]
        return self.dim or dim, self.num_heads or heads, self.num_layers or layers


@dataclass(frozen=True, kw_only=True)
class LutConditionerConfig:
    """Words hashed into a learned look-up table; needs no download."""

    kind: Literal["lut"] = "lut"

    fusion: Fusion = "cross"
    """How the words enter the model; see config/condition.py."""

    num_bins: int = 1024
    """Rows of the table; two words share a row when their SHA-256 agree modulo this."""

    dim: int = 64
    """Width of a row before it is projected to the model's width."""

    max_words: int = 32
    """Words beyond this are cut, and counted in the log."""


@dataclass(frozen=True, kw_only=True)
class T5ConditionerConfig:
    """Frozen T5 or FLAN-T5 encoder followed by a learned projection."""

    kind: Literal["t5"]

    fusion: Fusion = "cross"
    """How the words enter the model; MusicGen's melody models `prepend`."""

    path: str
    """Local folder, or a hub id that `musicgen fetch` has resolved."""

    revision: str | None = None
    """Commit hash of the hub id; required when `path` is a hub id."""

    max_tokens: int = 256
    """Longer captions are cut, and counted in the log."""

    cache_mb: int = 0
    """Memory for the encoder's states of captions seen before, the last used; 0: none. Each caption is then encoded by
    itself, so that what the cache holds never changes a result."""


ConditionerConfig = LutConditionerConfig | T5ConditionerConfig
