"""What turns an excerpt of music into features, frame by frame: the frozen part of a style condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class MelExtractorConfig:
    """Logarithmic mel spectrum: needs no weights and no download."""

    kind: Literal["mel"] = "mel"

    sample_rate_hz: int = 24_000
    """Rate at which it listens; audio of another rate is resampled."""

    frame_rate_hz: int = 75
    """Frames of features per second; MERT's."""

    window_samples: int = 1024
    """Of each frame's spectrum."""

    num_mels: int = 128
    """Bands, from 0 Hz to half the rate: the width of the features."""


@dataclass(frozen=True, kw_only=True)
class PretrainedExtractorConfig:
    """A self-supervised model of transformers that hears the waveform: MERT (MusicGen-Style's), HuBERT, wav2vec 2.0,
    WavLM and their like. It stays frozen."""

    kind: Literal["transformers"]

    path: str
    """Local folder with config.json and safetensors, or a hub id that `musicgen fetch` has resolved."""

    revision: str | None = None
    """Commit hash of the hub id; required when `path` is a hub id."""

    accept_noncommercial: bool = False
    """MERT's released weights are CC-BY-NC-4.0; `musicgen fetch` takes such only with true."""

    sample_rate_hz: int | None = None
    """Rate that the model was trained at; null: as the folder's preprocessor_config.json or config.json says."""

    layer: int | None = None
    """Which hidden state: 0 is what enters the first layer, N what the N-th gives; null: the last, as AudioCraft."""

    normalize: bool = False
    """Bring each excerpt to mean 0 and variance 1 first. AudioCraft feeds MERT as it is; HuBERT and wav2vec 2.0 whose
    preprocessor_config.json says do_normalize were trained with it."""


ExtractorConfig = MelExtractorConfig | PretrainedExtractorConfig
