"""The melody condition in other projects' configs: what they have no key for stands under one of our own.

Sources: MusicgenMelodyConfig and MusicgenMelodyFeatureExtractor in huggingface/transformers; ChromaStemConditioner in
audiocraft/modules/conditioners.py and config/conditioner/chroma2music.yaml in facebookresearch/audiocraft.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from musicgen_core.config.condition import ChromaConditionConfig
from musicgen_core.config.load import ConfigError, from_plain

OWN_KEY = "musicgen_core"
"""Of a config.json or an xp.cfg; both projects leave keys alone that they do not know."""

MELODY = "self_wav"

HOP_SHARE = 4
"""A hop is a window divided by this."""

EXTRACTOR_NAME = "preprocessor_config.json"

EXTRACTOR_DEFAULTS: dict[str, Any] = {"sampling_rate": 32_000, "n_fft": 16_384, "hop_length": 4_096, "num_chroma": 12}
"""MusicgenMelodyFeatureExtractor's, for a folder without its file or a file without a key."""


def keep_own(chroma: ChromaConditionConfig) -> dict[str, Any]:
    """What is to be written under OWN_KEY: how many frames, whether only the loudest class counts, what silence is."""
    values = asdict(chroma)
    return {MELODY: {key: values[key] for key in ("num_frames", "argmax", "absent")}}


def write_extractor(chroma: ChromaConditionConfig) -> dict[str, Any]:
    """preprocessor_config.json of a melody model of transformers."""
    window = 2**chroma.radix2_exp
    return {
        "feature_extractor_type": "MusicgenMelodyFeatureExtractor",
        "feature_size": 12,
        "num_chroma": 12,
        "sampling_rate": chroma.sample_rate_hz,
        "n_fft": window,
        "hop_length": window // HOP_SHARE,
        "chunk_length": round(chroma.num_frames * window / HOP_SHARE / chroma.sample_rate_hz),
        "padding_value": 0.0,
        "return_attention_mask": False,
        "stem_indices": [3, 2],
        "processor_class": "MusicgenMelodyProcessor",
    }


def read_extractor(folder: Path, config: Mapping[str, Any]) -> ChromaConditionConfig:
    """The melody condition of a folder of transformers', `config` being its config.json.

    ValueError names the file, the key and its value when this project computes no such chroma.
    """
    path = folder / EXTRACTOR_NAME
    written: dict[str, Any] = {}
    if path.is_file():
        try:
            written = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: not JSON ({error.msg}); copy it again") from None
    values = {**EXTRACTOR_DEFAULTS, **{k: v for k, v in written.items() if k in EXTRACTOR_DEFAULTS}}
    num_chroma = {str(folder / "config.json"): config.get("num_chroma", 12), str(path): values["num_chroma"]}
    for where, value in num_chroma.items():
        if value != 12:
            raise ValueError(f"{where}: num_chroma is {value!r}; this project's melody has 12 pitch classes")
    window, hop = int(values["n_fft"]), int(values["hop_length"])
    if window < HOP_SHARE or window & (window - 1) or hop * HOP_SHARE != window:
        raise ValueError(
            f"{path}: n_fft {window} and hop_length {hop}; this project's chroma has windows of a power of 2 and hops "
            f"of 1/{HOP_SHARE} of them"
        )
    found = {
        "sample_rate_hz": int(values["sampling_rate"]),
        "radix2_exp": window.bit_length() - 1,
        "num_frames": int(config.get("chroma_length", 235)),
        **_own(config),
    }
    return _make(found, str(folder / "config.json"))


def read_stem(
    section: Mapping[str, Any], config: Mapping[str, Any], known: Mapping[str, Any], source: str
) -> ChromaConditionConfig:
    """The melody condition of an xp.cfg, `section` being its chroma_stem; `known` are fusion, rate and frames."""
    if section.get("n_chroma", 12) != 12:
        raise ValueError(
            f"{source}: chroma_stem.n_chroma is {section['n_chroma']!r}; this project's melody has 12 pitch classes"
        )
    found = {"radix2_exp": int(section["radix2_exp"]), "argmax": bool(section["argmax"]), **known, **_own(config)}
    return _make(found, source)


def count_frames(segment_sec: float, rate_hz: int, radix2_exp: int) -> int:
    """Frames that AudioCraft computes for a segment."""
    return 1 + int(segment_sec * rate_hz) // (2**radix2_exp // HOP_SHARE)


def melody_notes(chroma: ChromaConditionConfig, theirs: str) -> list[str]:
    """What transformers or AudioCraft do otherwise with this melody, although the weights fit."""
    notes = []
    if chroma.absent != "silence":
        notes.append(
            f"this model was trained with absent: {chroma.absent}; {theirs} gives the chroma of silence where there is "
            "no melody, and in guidance: other tokens come out, `musicgen generate` is right for this model (train "
            "with absent: silence to have the same everywhere)"
        )
    if not chroma.argmax and theirs == "transformers":
        notes.append(
            "this model was trained with argmax: false; transformers' processor keeps only the loudest pitch class of "
            "a frame: give it `input_features` computed here (musicgen_core.conditioners.chroma.compute_chroma)"
        )
    if chroma.separate is not None and theirs == "transformers":
        notes.append("this model follows stems: give transformers' processor demucs' stems, not the mix")
    if chroma.separate is None and theirs == "AudioCraft":
        notes.append("this model follows the whole mix; AudioCraft takes drums and bass out of a melody before")
    return notes


def _own(config: Mapping[str, Any]) -> dict[str, Any]:
    section = config.get(OWN_KEY)
    found = section.get(MELODY) if isinstance(section, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {"absent": "silence"}


def _make(values: dict[str, Any], source: str) -> ChromaConditionConfig:
    try:
        return from_plain(ChromaConditionConfig, {"kind": "chroma", **values}, source)
    except ConfigError as error:
        raise ValueError(f"its melody condition is not understood ({error})") from None
