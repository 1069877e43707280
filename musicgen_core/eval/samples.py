"""Generated samples as the generate stage left them: samples.json and audio files beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from musicgen_core import native
from musicgen_core.config.data import CodecSpec


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One generated sample, and how it was drawn."""

    path: Path
    prompt: str | None
    """null: generated without words."""

    source: str
    """`prompt` (config.yaml), `held-out` (a caption of the evaluate split), `unconditional` or `continuation`."""

    seed: int
    duration_sec: float
    top_k: int
    top_p: float
    temperature: float
    cfg_coef: float


def read_samples(folder: Path) -> list[Sample]:
    """Read samples.json. ValueError names the file when it is damaged or empty, FileNotFoundError when it is absent."""
    path = Path(folder) / "samples.json"
    kept = [field.name for field in fields(Sample) if field.name != "path"]
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        samples = [Sample(path=path.parent / e["file"], **{name: e[name] for name in kept}) for e in entries]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a list of samples ({error!r}); re-run the generate stage") from None
    if not samples:
        raise ValueError(f"{path}: 0 samples, at least 1 is needed; re-run the generate stage")
    return samples


def load_wav(path: Path, codec: CodecSpec) -> np.ndarray:
    """wav_CN float32 of an audio file at the codec's rate and channels."""
    wav_CN, rate_hz = native.decode(path)
    if rate_hz != codec.sample_rate_hz:
        wav_CN = native.resample(wav_CN, rate_hz, codec.sample_rate_hz)
    return native.mix(wav_CN, codec.num_channels)
