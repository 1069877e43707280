"""Whether a run hides padded words: as its config says, else as the weights were trained that it starts from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from musicgen_core.config.root import RunConfig
from musicgen_core.config.source import find_source
from musicgen_core.config.start import InitFromConfig
from musicgen_core.util.atomic import write_json_if_changed

KEY = "mask_condition_padding"
"""In our configs, and in the config.json that our exports for transformers have."""


def settle_padding(runs: Mapping[str, RunConfig], cache: Path) -> dict[str, RunConfig]:
    """The same runs with a value for every null `model.mask_condition_padding`: that of the run or the weights at the
    path that it starts from. `cache` remembers what a path said, for a source that is gone after the training.

    Of a path that was never there nothing is said here: its digest is asked for next, and is what fails.
    """
    known = _read(cache)
    settled: dict[str, RunConfig] = {}

    def settle(key: str) -> bool:
        if key not in settled:
            run = runs[key]
            masked = run.model.mask_condition_padding
            if masked is None:
                masked = _find(run.training.init_from, settle, known) if _attends(run) else True
            settled[key] = replace(run, model=replace(run.model, mask_condition_padding=masked))
        return settled[key].model.mask_condition_padding is not False

    for key in runs:
        settle(key)
    if known:
        write_json_if_changed(cache, known)
    return {key: settled[key] for key in runs}


def _attends(run: RunConfig) -> bool:
    """Whether there is a key to hide at all: padding in a prefix is always seen."""
    return "cross" in {run.conditioner.fusion, *(condition.fusion for condition in run.model.conditions.values())}


def _find(init: InitFromConfig | None, settle: Any, known: dict[str, bool]) -> bool:
    if init is None:
        return True
    if init.run is not None:
        return bool(settle(init.run))
    name = f"{init.path}@{init.revision}" if init.revision else str(init.path)
    try:
        known[name] = read_padding(find_source(init))
    except (OSError, ValueError):
        return known.get(name, True)
    return known[name]


def read_padding(source: Path) -> bool:
    """Whether weights were trained with padded words hidden. Without opening them: configs say it, and AudioCraft never
    hides.

    `source` is a folder of a run, a checkpoint, an export, transformers' or AudioCraft's, or a file of AudioCraft's.
    """
    path = source / "config.json"
    if (source / "manifest.json").is_file():
        path = source.parent.parent / "config.json"
    elif source.is_file() or ((source / "state_dict.bin").is_file() and not any(source.glob("model*.safetensors"))):
        return False
    values = json.loads(path.read_text(encoding="utf-8"))
    if "model" in values:  # a run's, or an export's
        return values["model"].get(KEY) is not False
    return bool(values.get(KEY, False))


def _read(cache: Path) -> dict[str, bool]:
    try:
        found = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
