"""The small EnCodec that the project trains itself, from the modules of the `encodec` package.

High Fidelity Neural Audio Compression, arXiv 2210.13438: a SEANet encoder and decoder around a residual vector
quantizer. Convolutions carry no weight norm: at this size it made training slower by the step and by the clock.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from musicgen_core.codec.base import check_codes, check_wav
from musicgen_core.codec.weights import load_strict
from musicgen_core.config.codec_spec import (
    CONFIG_NAME,
    TINY_MODEL_TYPE,
    WEIGHTS_NAME,
    read_codec_folder,
    read_model_config,
)


@dataclass(frozen=True, kw_only=True)
class TinyCodecArchitecture:
    """Shape of the network; the keys of the folder's config.json besides `model_type` and `version`."""

    name: str = "tiny"
    sample_rate_hz: int = 16_000
    num_channels: int = 1
    num_codebooks: int = 4
    card: int = 256
    ratios: tuple[int, ...] = (5, 8, 8)
    """Upsampling ratios in decoder order; their product is the hop. The encoder starts with the last, 8, so that
    most of the work happens at low rates."""

    num_filters: int = 16
    """Channels after the first convolution; they double at every ratio."""

    dimension: int = 32
    """Latent width, and width of a codebook entry."""

    num_lstm_layers: int = 0
    """None by default: codes then depend on nearby samples only, and music that repeats has codes that repeat."""


class TinyEncodec(nn.Module):
    """Encoder, quantizer and decoder as one trainable module."""

    def __init__(self, architecture: TinyCodecArchitecture) -> None:
        super().__init__()
        from encodec.modules import SEANetDecoder, SEANetEncoder
        from encodec.quantization import ResidualVectorQuantizer

        a = architecture
        shared: dict[str, Any] = {
            "channels": a.num_channels,
            "dimension": a.dimension,
            "n_filters": a.num_filters,
            "ratios": list(a.ratios),
            "lstm": a.num_lstm_layers,
            "norm": "none",
            "true_skip": True,
            "pad_mode": "reflect",
        }
        self.encoder = SEANetEncoder(**shared)
        self.decoder = SEANetDecoder(**shared)
        self.quantizer = ResidualVectorQuantizer(dimension=a.dimension, n_q=a.num_codebooks, bins=a.card)
        self.frame_rate_hz = a.sample_rate_hz // math.prod(a.ratios)

    def forward(self, wav_BCN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """-> (reconstruction_BCN, codes_BKT, commitment loss, a scalar); N must be a multiple of the hop."""
        quantized = self.quantizer(self.encoder(wav_BCN), self.frame_rate_hz)
        return self.decoder(quantized.quantized), quantized.codes.transpose(0, 1), quantized.penalty

    def codebooks(self) -> list[Any]:
        """The K codebook modules; each has buffers embed [C, D] and inited [1]."""
        return [layer._codebook for layer in self.quantizer.vq.layers]

    def export_state(self) -> dict[str, torch.Tensor]:
        """What a file holds: `encoder.*`, `decoder.*`, `codebooks` [K, C, D]; float32."""
        state = {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("quantizer.")}
        state["codebooks"] = torch.stack([codebook.embed for codebook in self.codebooks()])
        return {name: tensor.detach().float().cpu().contiguous() for name, tensor in state.items()}


class TinyCodec:
    """A trained tiny EnCodec, frozen."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.spec = read_codec_folder(folder)
        values = read_model_config(folder)
        if values.get("version") != 1:
            raise ValueError(f"{folder / CONFIG_NAME}: version {values.get('version')}, this program reads version 1")
        known = {key: values[key] for key in asdict(TinyCodecArchitecture()) if key in values}
        model = TinyEncodec(TinyCodecArchitecture(**{**known, "ratios": tuple(values["ratios"])}))
        try:
            state = load_file(folder / WEIGHTS_NAME)
        except SafetensorError as error:
            raise ValueError(f"{folder / WEIGHTS_NAME}: damaged ({error}); fetch or train the codec again") from None
        codebooks_KCD = state.pop("codebooks", torch.empty(0))
        for number, codebook in enumerate(model.codebooks()):
            name = f"quantizer.vq.layers.{number}._codebook"
            if number < len(codebooks_KCD):
                state[f"{name}.embed"] = codebooks_KCD[number]
            # kept by the package for training only
            state[f"{name}.embed_avg"] = codebook.embed_avg
            state[f"{name}.cluster_size"] = codebook.cluster_size
            state[f"{name}.inited"] = torch.ones(1)
        load_strict(model, state, folder / WEIGHTS_NAME)
        self._model = model.eval().requires_grad_(False).to(device)
        self._device = device

    @torch.no_grad()
    def latents(self, wav_BCN: torch.Tensor) -> torch.Tensor:
        check_wav(self.spec, wav_BCN)
        return self._model.encoder(wav_BCN.to(self._device))

    @torch.no_grad()
    def encode(self, wav_BCN: torch.Tensor) -> torch.Tensor:
        return self._model.quantizer.encode(self.latents(wav_BCN), self._model.frame_rate_hz).transpose(0, 1)

    @torch.no_grad()
    def decode(self, codes_BKT: torch.Tensor) -> torch.Tensor:
        check_codes(self.spec, codes_BKT)
        return self._model.decoder(self._model.quantizer.decode(codes_BKT.to(self._device).transpose(0, 1)))


def tiny_config(architecture: TinyCodecArchitecture) -> dict[str, Any]:
    """Content of config.json."""
    return {"model_type": TINY_MODEL_TYPE, "version": 1, **asdict(architecture)}
