"""Exports: a folder with model.safetensors and config.json from which the model is rebuilt without the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.load import from_plain
from musicgen_core.config.model import ConditionerConfig, ModelConfig, T5ConditionerConfig
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.lm.model import LanguageModel, build_model
from musicgen_core.util.atomic import write_json
from musicgen_core.util.fit import check_finite, check_fit, find_non_finite

FORMAT = "musicgen_core"
VERSION = 2  # 1 had model.delays where 2 has model.pattern
WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
CODEC_NAME = "codec"
TEXT_ENCODER_NAME = "text_encoder"
WORDS_NAME = "words.txt"
"""The words of the training's captions, one per line."""


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What the model is rebuilt from."""

    model: ModelConfig
    conditioner: ConditionerConfig
    codec: CodecSpec


def save_export(folder: Path, model: LanguageModel, train_config: TrainStageConfig, extra: Mapping[str, Any]) -> None:
    """Write float32 weights and what is needed to rebuild the model into an existing folder.

    `extra` joins config.json (step, licences, ...). Raises ValueError naming weights that are not finite.
    """
    training = {"training": asdict(train_config.training), "seed": train_config.seed}
    if clash := sorted(set(training) & set(extra)):
        raise ValueError(f"extra keys {clash} are the export's own; name them otherwise")
    write_export(folder, model, train_config.conditioner, train_config.codec, {**training, **extra})


def write_export(
    folder: Path, model: LanguageModel, conditioner: ConditionerConfig, codec: CodecSpec, extra: Mapping[str, Any]
) -> None:
    """Write a model that may come from elsewhere; as `save_export`."""
    from safetensors.torch import save_file

    state = {name: tensor.detach().float().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if bad := find_non_finite(state):
        raise ValueError(
            f"weights with NaN or infinity: {', '.join(bad)}; the training diverged, lower its learning rate"
        )
    save_file(state, folder / WEIGHTS_NAME, metadata={"format": "pt"})
    config = {
        "format": FORMAT,
        "version": VERSION,
        "model": asdict(model.config),
        "conditioner": asdict(conditioner),
        "codec": asdict(codec),
    }
    if clash := sorted(set(config) & set(extra)):
        raise ValueError(f"extra keys {clash} are the export's own; name them otherwise")
    write_json(folder / CONFIG_NAME, {**config, **extra})


def load_export(folder: Path | str, device: torch.device | str = "cpu") -> tuple[LanguageModel, dict[str, Any]]:
    """Rebuild the model of an export, in eval mode; -> (model, contents of config.json).

    Raises FileNotFoundError for an absent file and ValueError for one of another format, or whose weights do not fit
    its config or are not finite, naming each missing, unexpected, mismatched and non-finite weight.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    info = _read_config(folder / CONFIG_NAME)
    parts = from_plain(_Parts, {key: info[key] for key in ("model", "conditioner", "codec")}, str(folder / CONFIG_NAME))
    try:
        model = build_model(parts.model, _find_text_encoder(parts.conditioner, folder), parts.codec, device)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}; {folder} names it in its {CONFIG_NAME} and holds no copy of it: bring it there, or write its "
            f"new path into {CONFIG_NAME}"
        ) from None
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{path}: absent; export the run again")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged ({error}); export the run again") from None
    load_state(model, state, str(path))
    return model.eval(), info


def codec_folder(folder: Path) -> Path | None:
    """The export's own copy of its codec; None for an export of before there was one."""
    path = Path(folder) / CODEC_NAME
    return path if path.is_dir() else None


def read_words(folder: Path) -> list[str]:
    """The words that an export was trained on; empty where it does not say."""
    path = Path(folder) / WORDS_NAME
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def read_codec(info: Mapping[str, Any]) -> CodecSpec:
    """The codec an export was trained on, from the contents of its config.json."""
    return from_plain(CodecSpec, info["codec"], "codec")


def load_state(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy every weight into the model. Raises ValueError that names `source` and all weights that do not fit, or that
    are NaN or infinite."""
    expected = model.state_dict()
    check_fit(expected, state, source)
    check_finite(state, source)
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(state[name])


def _find_text_encoder(conditioner: ConditionerConfig, folder: Path) -> ConditionerConfig:
    """A text encoder inside the export is named relative to it."""
    if isinstance(conditioner, T5ConditionerConfig) and conditioner.revision is None:
        inside = folder / conditioner.path
        if not Path(conditioner.path).is_absolute() and inside.is_dir():
            return replace(conditioner, path=str(inside))
    return conditioner


def _read_config(path: Path) -> dict[str, Any]:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: absent; {path.parent} is no export") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error.msg})") from None
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise ValueError(f"{path}: not an export of this project (no format {FORMAT!r})")
    if info.get("version") != VERSION:
        raise ValueError(f"{path}: version {info.get('version')}, but this code reads {VERSION}; export the run again")
    if missing := sorted({"model", "conditioner", "codec"} - set(info)):
        raise ValueError(f"{path}: {', '.join(missing)} missing; export the run again")
    return info
