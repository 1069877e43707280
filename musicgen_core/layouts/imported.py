"""A model read from another layout, on its way into an export of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from musicgen_core.codec.convert import Settings, State
from musicgen_core.config.model import ConditionerConfig, ModelConfig


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What the parts of a folder say, before anything is built."""

    source: str
    model: ModelConfig
    conditioner: ConditionerConfig
    state: Mapping[str, Tensor]
    """In our names."""

    codec: Path | tuple[Settings, State]
    """A codec folder, or transformers' settings and state of an EncodecModel."""

    num_channels: int
    segment_sec: float
    license: str | None
    text_encoder: tuple[dict[str, Any], State, Path] | None = None
    """T5: its config, its state, and the folder that holds its tokenizer. None: the conditioner names a folder."""
