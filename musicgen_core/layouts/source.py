"""The language model of a folder or file of any layout: its weights and what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.load import from_plain
from musicgen_core.config.model import ConditionerConfig, ModelConfig
from musicgen_core.layouts.detect import detect


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model that another one starts from."""

    state: Mapping[str, Tensor]
    """In our names."""

    model: ModelConfig
    conditioner: ConditionerConfig

    codec: CodecSpec | None
    """The one of its training; None where only its geometry is known."""

    codec_folder: Path | None = None
    """A copy of that codec beside the weights."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a config.json of ours says of a model."""

    model: ModelConfig
    conditioner: ConditionerConfig
    codec: CodecSpec


def read_source(path: Path) -> Source:
    """Read an export of ours, a folder of transformers', or AudioCraft's folder or file. Runs nothing of it.

    Raises FileNotFoundError or ValueError that names the file and what is wrong.
    """
    kind = detect(path)
    if kind == "musicgen":
        from musicgen_core.layouts.transformers_read import read_weights

        parts = read_parts(path / "config.json")
        state = read_weights(path)
        folder = path / "codec"
        return Source(state=state, **parts, codec_folder=folder if folder.is_dir() else None)
    if kind == "transformers":
        from musicgen_core.layouts.transformers_read import read_transformers

        imported = read_transformers(path, mask_condition_padding=False)
        return Source(state=imported.state, model=imported.model, conditioner=imported.conditioner, codec=None)
    from musicgen_core.layouts.audiocraft_files import read_language_model

    config, state = read_language_model(path)
    return Source(state=state, model=config.model, conditioner=config.conditioner, codec=None)


def read_parts(path: Path) -> dict[str, Any]:
    """`model`, `conditioner` and `codec` of an export's or a run's config.json. Raises ValueError naming the file."""
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        parts = from_plain(Parts, {key: info[key] for key in ("model", "conditioner", "codec")}, str(path))
    except FileNotFoundError:
        raise ValueError(f"{path}: absent; it says what the weights beside it are") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no config of a run or an export ({error!r})") from None
    return {"model": parts.model, "conditioner": parts.conditioner, "codec": parts.codec}
