"""Frozen feature extractors of a style condition: from an excerpt's waveform to one vector per frame.

An extractor lives outside the module tree, as T5 does: not trained, not saved, not counted, in float32; on a GPU where
there is one. Any object with the members of `Extractor` can take its place (`StyleConditioner.extractor`).

Legend: N samples, F frequencies, M mel bands, T frames, E width of the features.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from musicgen_core.conditioners.pretrained import load_frozen
from musicgen_core.config.extractor import ExtractorConfig, MelExtractorConfig, PretrainedExtractorConfig
from musicgen_core.config.store import resolve_asset

KEY = "model.conditions.*.extractor"
QUIETEST = 1e-6
"""Mel power below which all is alike: -60 dB of a full-scale tone in one band."""


class Extractor(Protocol):
    """A pure function of a waveform."""

    width: int
    sample_rate_hz: int

    def count_frames(self, num_samples: int) -> int:
        """Frames of so many samples; 0 when they are too few."""

    def __call__(self, wav_N: Tensor) -> Tensor:
        """float32 [N], at least so long that there is a frame -> float32 [T, E] on the CPU."""


def build_extractor(config: ExtractorConfig) -> Extractor:
    """FileNotFoundError or ValueError that names the file when a folder holds no such model."""
    return MelExtractor(config) if isinstance(config, MelExtractorConfig) else PretrainedExtractor(config)


class MelExtractor:
    """Logarithm of the power in mel bands (torchaudio's HTK filters), brought near mean 0 and deviation 1."""

    def __init__(self, config: MelExtractorConfig) -> None:
        self.config, self.width, self.sample_rate_hz = config, config.num_mels, config.sample_rate_hz
        self.hop_samples = config.sample_rate_hz // config.frame_rate_hz

    def count_frames(self, num_samples: int) -> int:
        return max(0, 1 + (num_samples - self.config.window_samples) // self.hop_samples)

    def __call__(self, wav_N: Tensor) -> Tensor:
        from torchaudio.functional import melscale_fbanks

        window = self.config.window_samples
        hann = torch.hann_window(window)
        spectrum_FT = (
            torch.stft(wav_N, window, self.hop_samples, window=hann, center=False, return_complex=True).abs().square()
            / hann.square().sum()
        )
        filters_FM = melscale_fbanks(window // 2 + 1, 0.0, self.sample_rate_hz / 2, self.width, self.sample_rate_hz)
        return ((spectrum_FT.T @ filters_FM).clamp_min(QUIETEST).log() + 5) / 5


class PretrainedExtractor:
    """A model of transformers that hears the waveform, from a local folder, loaded when first used.

    Its config.json must list the strides and widths of its convolutions (`conv_stride`, `conv_kernel`), as wav2vec 2.0,
    HuBERT, WavLM, data2vec and UniSpeech do. MERT's is HuBERT's under another name, as long as it has neither of its
    options (m-a-p/MERT-v1-95M, modeling_MERT.py: feature_extractor_cqt, deepnorm, attention_relax); no code of a folder
    is ever run.
    """

    def __init__(self, config: PretrainedExtractorConfig) -> None:
        self.config = config
        self.folder = resolve_asset(config.path, config.revision, f"{KEY}.path")
        self.about = _read_json(self.folder / "config.json", f"{KEY}.path must name a folder with a model")
        _check(self.about, self.folder)
        self.width = int(self.about["hidden_size"])
        self.sample_rate_hz = config.sample_rate_hz or _find_rate(self.about, self.folder)
        if not any(self.folder.glob("*.safetensors")):
            raise FileNotFoundError(
                f"{self.folder}: holds no .safetensors; weights in another form (pytorch_model.bin) are pickles, which "
                "are never opened: save them as safetensors (docs/style.md says how)"
            )
        num_layers = int(self.about["num_hidden_layers"])
        if config.layer is not None and not 0 <= config.layer <= num_layers:
            raise ValueError(f"{KEY}.layer: {config.layer}, but {self.folder} has hidden states 0 to {num_layers}")
        self._model: Any = None

    def count_frames(self, num_samples: int) -> int:
        for kernel, stride in zip(self.about["conv_kernel"], self.about["conv_stride"], strict=True):
            num_samples = (num_samples - kernel) // stride + 1
        return max(0, num_samples)

    @torch.no_grad()
    def __call__(self, wav_N: Tensor) -> Tensor:
        model = self._load()
        wav_N = wav_N.to(model.device)
        if self.config.normalize:
            wav_N = functional.layer_norm(wav_N, wav_N.shape, eps=1e-7)  # the feature extractor's do_normalize
        with torch.autocast(wav_N.device.type, enabled=False):
            found = model(wav_N[None], output_hidden_states=self.config.layer is not None)
        state_1TE = found.last_hidden_state if self.config.layer is None else found.hidden_states[self.config.layer]
        return state_1TE[0].float().cpu()

    def _load(self) -> Any:
        if self._model is None:
            from transformers import AutoModel, HubertConfig, HubertModel

            kind: Any = AutoModel
            options: dict[str, Any] = {"trust_remote_code": False}
            if self.about["model_type"] == "mert_model":
                known = {key: value for key, value in self.about.items() if key not in ("model_type", "auto_map")}
                kind, options = HubertModel, {"config": HubertConfig(**known)}
            device = "cuda" if torch.cuda.is_available() else "cpu"
            # masked_spec_embed is of masking in its own training, and of nothing that is used here
            self._model = load_frozen(kind, self.folder, unused="masked_spec_embed", **options).to(device)
        return self._model


def _check(about: Mapping[str, Any], folder: Path) -> None:
    """ValueError unless the config is of a model that hears the waveform and needs no code of its own."""
    lacks = [
        key
        for key in ("model_type", "hidden_size", "num_hidden_layers", "conv_kernel", "conv_stride")
        if key not in about
    ]
    if lacks:
        raise ValueError(
            f"{folder / 'config.json'}: model_type {about.get('model_type')!r} is none that hears a waveform (it lacks "
            f"{', '.join(lacks)}); {KEY} takes wav2vec 2.0, HuBERT, WavLM, MERT and their like, or kind mel"
        )
    if about["model_type"] == "mert_model":
        options = {"feature_extractor_cqt": False, "deepnorm": False, "attention_relax": -1}
        if differ := [key for key, value in options.items() if about.get(key, value) != value]:
            raise ValueError(
                f"{folder / 'config.json'}: a MERT with {', '.join(differ)}, which needs code of its own; "
                "MERT-v1-95M needs none"
            )
    elif "auto_map" in about:
        raise ValueError(
            f"{folder / 'config.json'}: model_type {about['model_type']!r} needs code of its own (auto_map), which is "
            "never run; name a model that transformers knows"
        )


def _find_rate(about: Mapping[str, Any], folder: Path) -> int:
    path = folder / "preprocessor_config.json"
    rate = _read_json(path, "").get("sampling_rate") if path.is_file() else None
    rate = rate or about.get("sample_rate")
    if not isinstance(rate, int | float) or not math.isfinite(rate) or rate < 1:
        raise ValueError(
            f"{folder}: neither preprocessor_config.json (sampling_rate) nor config.json (sample_rate) says at which "
            f"rate the model listens; set {KEY}.sample_rate_hz"
        )
    return int(rate)


def _read_json(path: Path, hint: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: absent; {hint}") from None
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: not JSON with keys and values")
    return values
