"""Stems of a recording: its melody without drums and bass, as AudioCraft's melody models hear it.

HT-Demucs (Rouard et al., arXiv 2211.08553) through the package `demucs`, from a local folder as that package's hub
repositories are laid out: NAME.yaml (`models: [SIGNATURE, ...]`, optionally `weights`, `segment`) and
SIGNATURE.safetensors with the network's class and arguments in its metadata (demucs 4.1, demucs/hf.py). No pickle.
"""

from __future__ import annotations

import importlib.util
import json
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import yaml

from musicgen_core import native
from musicgen_core.conditioners.recording import Recording
from musicgen_core.config.separation import SeparationConfig
from musicgen_core.config.store import resolve_asset

NETWORKS = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs")
"""What a file's metadata may name; nothing else is imported."""


class Separator(Protocol):
    """Anything that takes the wanted stems out of a recording, a pure function of it."""

    def __call__(self, recording: Recording) -> Recording: ...


class DemucsSeparator:
    """The sum of some stems, at the network's own rate and channels.

    Unlike AudioCraft's, which shifts the input by a random time, it is the same each time (`shifts=0`). The network is
    loaded when it is first used, to a GPU where there is one.
    """

    def __init__(self, config: SeparationConfig) -> None:
        """ValueError when the package is missing, FileNotFoundError when the weights are."""
        if importlib.util.find_spec("demucs") is None:
            raise ValueError(
                "separating stems (model.conditions.*.separate) needs the package demucs: pip install "
                "'musicgen-core[separate]', or leave `separate` out to follow the whole mix"
            )
        self.config = config
        self.folder = resolve_asset(config.path, config.revision, "separate.path")
        self.bag = _read_bag(self.folder)
        self._model: Any = None

    def __call__(self, recording: Recording) -> Recording:
        from demucs.apply import apply_model

        model = self._load()
        rate_hz, num_channels = int(model.samplerate), int(model.audio_channels)
        wav_CN = np.ascontiguousarray(recording.wav_CN, dtype=np.float32)
        if wav_CN.shape[0] != 1:
            wav_CN = native.mix(wav_CN, 1)
        if recording.sample_rate_hz != rate_hz:
            wav_CN = native.resample(wav_CN, recording.sample_rate_hz, rate_hz)
        mixed_1CN = torch.from_numpy(native.mix(wav_CN, num_channels))[None]
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with torch.no_grad(), torch.autocast(device, enabled=False):
            stems_SCN = apply_model(model, mixed_1CN, shifts=0, split=True, overlap=0.25, device=device)[0]
        wanted = [model.sources.index(name) for name in self.config.stems]
        return Recording(stems_SCN[wanted].sum(0).cpu().numpy(), rate_hz)

    def _load(self) -> Any:
        if self._model is None:
            from demucs.apply import BagOfModels

            models = [_load_network(self.folder / f"{name}.safetensors") for name in self.bag["models"]]
            model = BagOfModels(models, self.bag.get("weights"), self.bag.get("segment")).eval()
            if missing := sorted(set(self.config.stems) - set(model.sources)):
                raise ValueError(
                    f"{self.folder}: separates {', '.join(model.sources)}, not {', '.join(missing)}; change "
                    "separate.stems"
                )
            self._model = model
        return self._model


def _read_bag(folder: Path) -> dict[str, Any]:
    """The one .yaml of the folder. ValueError, or FileNotFoundError, that names what is missing."""
    found = sorted(folder.glob("*.yaml"))
    if len(found) != 1:
        raise ValueError(f"{folder}: {len(found)} .yaml files, but a demucs model has one, with its list `models`")
    bag = yaml.safe_load(found[0].read_text(encoding="utf-8"))
    if not isinstance(bag, dict) or not isinstance(bag.get("models"), list) or not bag["models"]:
        raise ValueError(f"{found[0]}: no list `models`; this is no demucs model")
    for name in bag["models"]:
        if not (folder / f"{name}.safetensors").is_file():
            raise FileNotFoundError(f"{folder / f'{name}.safetensors'}: absent; {found[0].name} names it")
    return bag


def _load_network(path: Path) -> Any:
    """Build the network that the metadata describes and fill it. ValueError names the file."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged ({error})") from None
    if about.get("klass") not in NETWORKS or "structure" in about:
        raise ValueError(f"{path}: holds {about.get('klass')}, not a plain one of {', '.join(NETWORKS)}")
    module, _, name = about["klass"].rpartition(".")
    network = getattr(importlib.import_module(module), name)
    try:
        model = network(*_decode(json.loads(about["args"])), **_decode(json.loads(about["kwargs"])))
        model.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: its weights do not fit its description ({error})") from None
    return model


def _decode(value: Any) -> Any:
    """JSON values, where a fraction is {"_type": "fraction", "numerator": ..., "denominator": ...}."""
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return Fraction(value["numerator"], value["denominator"])
        return {key: _decode(item) for key, item in value.items()}
    return [_decode(item) for item in value] if isinstance(value, list) else value
