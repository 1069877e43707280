"""AudioCraft's files: `state_dict.bin` (language model) and `compression_state_dict.bin` (codec), read and written.

Each is a torch.save of {"best_state": weights, "xp.cfg": YAML, "version": ..., "exported": True}; the second may be
{"pretrained": NAME} instead (audiocraft/utils/export.py, audiocraft/models/loaders.py in facebookresearch/audiocraft).
Training checkpoints (`checkpoint.th`) are read too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from musicgen_core import __version__
from musicgen_core.codec.convert import Settings, State, from_audiocraft, read_as_audiocraft
from musicgen_core.conditioners.lut import LutConditioner
from musicgen_core.config.condition import ChromaConditionConfig
from musicgen_core.config.model import T5ConditionerConfig
from musicgen_core.config.store import read_license
from musicgen_core.layouts.audiocraft_config import (
    ReadConfig,
    parse_config,
    read_lm_config,
    resolve,
    write_lm_config,
)
from musicgen_core.layouts.chroma_keys import count_frames, melody_notes
from musicgen_core.layouts.imported import Imported
from musicgen_core.layouts.unpickle import load_untrusted, plain
from musicgen_core.lm.model import LanguageModel
from musicgen_core.util.atomic import atomic_path

LM_NAME = "state_dict.bin"
CODEC_FILE_NAME = "compression_state_dict.bin"

# buffers that AudioCraft saves and this project computes, by the end of their names
COMPUTED = (".chroma.spec.window",)


def read_audiocraft(source: Path, codec: Path | None, text_encoder: Path | None) -> Imported:
    """Read a folder with both files, or one language model file; `codec` and `text_encoder` replace what is not there.

    FileNotFoundError or ValueError names the file, what it lacks, and the flag that supplies it.
    """
    path = source / LM_NAME if source.is_dir() else source
    read, state = read_language_model(source)
    conditioner = read.conditioner
    if isinstance(conditioner, T5ConditionerConfig):
        if text_encoder is None:
            raise FileNotFoundError(
                f"{path}: needs the text encoder {conditioner.path}, which AudioCraft's files do not hold; give a "
                "folder with it (on the hub: google-t5/t5-base and its like) as --text-encoder"
            )
        conditioner = replace(conditioner, path=str(text_encoder.absolute()))
    return Imported(
        source=str(path),
        model=read.model,
        conditioner=conditioner,
        state=state,
        codec=codec if codec is not None else _read_codec(path.with_name(CODEC_FILE_NAME)),
        num_channels=2 if read.interleaved else read.num_channels,
        segment_sec=read.segment_sec,
        license=read_license(path.parent),
    )


def read_language_model(source: Path) -> tuple[ReadConfig, dict[str, Tensor]]:
    """What a language model file, or the one in a folder, says of its model, and its weights in our names."""
    path = source / LM_NAME if source.is_dir() else source
    config, state = read_package(path)
    return read_lm_config(config, str(path)), _ours(state)


def read_package(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and best weights of one file, exported or a checkpoint. ValueError names what is missing."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: absent; a folder of AudioCraft's holds {LM_NAME} and {CODEC_FILE_NAME}")
    package = load_untrusted(path)
    if not isinstance(package, dict) or "xp.cfg" not in package:
        raise ValueError(f"{path}: no `xp.cfg` in it; this is no model file of AudioCraft")
    text = package["xp.cfg"]
    config = parse_config(text, str(path)) if isinstance(text, str) else resolve(plain(text))
    best = package.get("fsdp_best_state") or package.get("best_state") or {}
    state = best.get("model", best)
    if not state or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ValueError(f"{path}: its best_state holds no weights; a checkpoint has them once an epoch has ended")
    return config, state


def write_audiocraft(folder: Path, model: LanguageModel, codec_folder: Path, segment_sec: float) -> list[str]:
    """Write both files into an existing folder, for `MusicGen.get_pretrained(folder)`; -> notes for the user.

    ValueError for a condition or a text encoder that AudioCraft has no counterpart of.
    """
    codec_config, codec_state = read_as_audiocraft(codec_folder)
    config = write_lm_config(model, codec_config["sample_rate"], segment_sec)
    state = {name: tensor.detach().float().cpu().contiguous() for name, tensor in model.state_dict().items()}
    for name, condition in model.config.conditions.items():
        if isinstance(condition, ChromaConditionConfig):
            window = torch.hann_window(2**condition.radix2_exp)
            state[f"condition_provider.conditioners.{name}{COMPUTED[0]}"] = window
    _save(folder / LM_NAME, config, state)
    _save(folder / CODEC_FILE_NAME, codec_config, codec_state)
    return _notes(model, segment_sec)


def _notes(model: LanguageModel, segment_sec: float) -> list[str]:
    notes = []
    if isinstance(model.conditioner, LutConditioner):
        notes.append("AudioCraft's look-up table splits captions into lemmas (spaCy), this project's into plain words")
    if model.config.mask_condition_padding:
        notes.append("AudioCraft does not hide padded text: give captions one by one, or of equally many tokens")
    for name, condition in model.config.conditions.items():
        if not isinstance(condition, ChromaConditionConfig):
            continue
        notes += melody_notes(condition, "AudioCraft")
        theirs = count_frames(segment_sec, condition.sample_rate_hz, condition.radix2_exp)
        if theirs != condition.num_frames:
            notes.append(
                f"{name} has {condition.num_frames} frames; AudioCraft makes {theirs} of its segment of "
                f"{segment_sec:g} s: other tokens come out"
            )
    return notes


def _ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """AudioCraft's names are ours, but for what is computed here and the level that torch's own attention adds."""
    return {name.replace(".mha.", "."): tensor for name, tensor in state.items() if not name.endswith(COMPUTED)}


def _read_codec(path: Path) -> tuple[Settings, State]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: absent; give the codec's folder as --codec")
    package = load_untrusted(path)
    if isinstance(package, dict) and "pretrained" in package:
        raise FileNotFoundError(
            f"{path}: only names a codec, {package['pretrained']}; give a folder with it as --codec (for released "
            "models the hub's facebook/encodec_32khz)"
        )
    return from_audiocraft(*read_package(path), str(path))


def _save(path: Path, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    text = yaml.safe_dump(dict(config), sort_keys=False)
    version = f"musicgen_core {__version__}"
    with atomic_path(path) as temporary:
        torch.save({"best_state": dict(state), "xp.cfg": text, "version": version, "exported": True}, temporary)
