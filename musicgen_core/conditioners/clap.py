"""CLAP as a joint embedding of audio and text: trained on a segment's own audio, asked with words or with audio.

As AudioCraft's (conditioner/clapemb2music): windows of 10 s, one per second, averaged; unit length; residual
quantisation; one position. The model is transformers' ClapModel from a local folder.

Legend: B batch, W windows, N samples, E width of the embedding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from musicgen_core import native
from musicgen_core.conditioners.base import Prepared
from musicgen_core.conditioners.pretrained import load_frozen
from musicgen_core.conditioners.quantizer import ResidualQuantizer
from musicgen_core.conditioners.recording import AudioConditioner, Recording
from musicgen_core.config.condition import ClapConditionConfig
from musicgen_core.config.store import resolve_asset


class ClapConditioner(AudioConditioner):
    """Recordings, texts, or their embeddings, to one position. The model lives outside the module tree, as T5 does."""

    takes_text = True

    def __init__(self, config: ClapConditionConfig, output_dim: int) -> None:
        folder = resolve_asset(config.path, config.revision, "model.conditions.*.path")
        super().__init__(_read_width(folder), output_dim, max_length=1)
        self.config, self.encoder = config, FrozenClap(folder)
        self.quantizer = ResidualQuantizer(self.encoder.width, config.num_levels, config.num_entries)

    def take(self, recording: Recording, draws: Sequence[float] | None = None) -> Tensor:
        """float32 [E] of the segment's music: the mean over its windows, of unit length."""
        return self.encoder.embed_audio(recording, self.config.stride_sec)

    def prepare(self, values: Sequence[Any]) -> Prepared:
        """Recordings, texts, embeddings [E] from `take`, or None; a text without a letter is none."""
        features_B1E = torch.zeros(len(values), 1, self.encoder.width)
        mask_B1 = torch.zeros(len(values), 1, dtype=torch.bool)
        for row, value in enumerate(values):
            if value is None or (isinstance(value, str) and not value.strip()):
                continue
            if isinstance(value, str):
                features_B1E[row, 0] = self.encoder.embed_text(value)
            else:
                features_B1E[row, 0] = self.take(value) if isinstance(value, Recording) else torch.as_tensor(value)
            mask_B1[row] = True
        return Prepared(mask_B1.long(), mask_B1, features_B1E)

    def encode(self, prepared: Prepared) -> Tensor:
        assert prepared.features_BLE is not None
        return self.quantizer(prepared.features_BLE, prepared.mask_BL)

    def learn(self, step: int, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        self.quantizer.learn(step, sum_over_processes)


class FrozenClap:
    """Model, tokenizer and spectra of one folder, loaded when first used; on a GPU where there is one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.width = _read_width(folder)
        self._parts: tuple[Any, Any, Any] | None = None

    @torch.no_grad()
    def embed_audio(self, recording: Recording, stride_sec: float) -> Tensor:
        """float32 [E] on the CPU. Windows begin every `stride_sec`; a shorter recording is repeated to fill one."""
        model, _, extractor = self._load()
        rate_hz = int(extractor.sampling_rate)
        wav_CN = np.ascontiguousarray(recording.wav_CN[:, : recording.num_valid], dtype=np.float32)
        if wav_CN.shape[0] != 1:
            wav_CN = native.mix(wav_CN, 1)
        if recording.sample_rate_hz != rate_hz:
            wav_CN = native.resample(wav_CN, recording.sample_rate_hz, rate_hz)
        window, stride = int(extractor.nb_max_samples), max(1, round(stride_sec * rate_hz))
        starts = range(0, max(1, wav_CN.shape[1] - window + 1), stride)
        windows = [wav_CN[0, start : start + window] for start in starts]
        # windows of exactly this length: nothing is cut at random, and no fusion is asked for
        inputs = extractor(windows, sampling_rate=rate_hz, truncation="rand_trunc", return_tensors="pt")
        found = model.get_audio_features(input_features=inputs["input_features"].to(model.device))
        return functional.normalize(_vectors(found).mean(0), dim=0).cpu()

    @torch.no_grad()
    def embed_text(self, text: str) -> Tensor:
        """float32 [E] on the CPU."""
        model, tokenizer, _ = self._load()
        inputs = tokenizer([text], truncation=True, max_length=77, return_tensors="pt").to(model.device)
        found = model.get_text_features(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        return functional.normalize(_vectors(found)[0], dim=0).cpu()

    def _load(self) -> tuple[Any, Any, Any]:
        if self._parts is None:
            from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

            device = "cuda" if torch.cuda.is_available() else "cpu"
            self._parts = (
                load_frozen(ClapModel, self.folder).to(device),
                AutoTokenizer.from_pretrained(self.folder, local_files_only=True),
                ClapFeatureExtractor.from_pretrained(self.folder, local_files_only=True),
            )
        return self._parts


def _vectors(found: Any) -> Tensor:
    """float32 [W, E]; transformers 5 gives an output object, of which the projected vector is the pooled one."""
    return (found if isinstance(found, Tensor) else found.pooler_output).float()


def _read_width(folder: Path) -> int:
    """`projection_dim` of the folder's config.json, without loading the model."""
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["model_type"] != "clap":
            raise ValueError(f"model_type {values['model_type']!r}")
        return int(values.get("projection_dim", 512))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: absent; a clap condition's path must name a folder with a CLAP model"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no CLAP config ({error}); its path must name transformers' layout of CLAP") from None
