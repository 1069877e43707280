"""Which layout a model on disk has, and which of its files are pickles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

Layout = Literal["musicgen", "transformers", "audiocraft"]


def detect(source: Path) -> Layout:
    """Layout of a folder or a file. FileNotFoundError or ValueError says what was looked for."""
    if source.is_file():
        return "audiocraft"
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder or file")
    if (source / "state_dict.bin").is_file():
        return "audiocraft"
    path = source / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{source}: neither config.json (ours, transformers') nor AudioCraft's state_dict.bin")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error.msg})") from None
    return "musicgen" if values.get("format") == "musicgen_core" else "transformers"


def list_pickles(source: Path) -> list[Path]:
    """The files of a model that are pickles and would be read: AudioCraft's, and transformers' before safetensors."""
    if source.is_file():
        return [source]
    if (source / "state_dict.bin").is_file():
        return sorted(path for path in source.glob("*state_dict.bin"))
    return [] if any(source.glob("model*.safetensors")) else sorted(source.glob("pytorch_model*.bin"))


def require_pickle(source: Path, accepted: bool, key: str) -> None:
    """ValueError for a model that lies in pickles unless `key` accepts them; nothing of them has been read then."""
    if (pickles := list_pickles(source)) and not accepted:
        remedy = f"Give {key}" if key.startswith("--") else f"Set {key}: true"
        raise ValueError(
            f"{pickles[0]}: a pickle, which may carry instructions; it was not opened. {remedy} to have torch's "
            "weights-only unpickler read it (tensors and plain values, nothing is run), or take safetensors"
        )
