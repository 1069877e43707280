"""Which layout a model on disk has."""

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
    path = source / "config.json"
    # released models lie in both layouts in one folder: then it is the one that is no pickle
    safe = path.is_file() and any(source.glob("model*.safetensors"))
    if (source / "state_dict.bin").is_file() and not safe:
        return "audiocraft"
    if not path.is_file():
        raise FileNotFoundError(f"{source}: neither config.json (ours, transformers') nor AudioCraft's state_dict.bin")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error.msg})") from None
    return "musicgen" if values.get("format") == "musicgen_core" else "transformers"
