"""transformers' EncodecModel as a codec; MusicGen's is the 32 kHz, 4 x 2048, 50 Hz one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from musicgen_core.codec.base import check_codes, check_wav
from musicgen_core.codec.weights import REMEDY
from musicgen_core.config.codec_spec import WEIGHTS_NAME, codec_bandwidth, read_codec_folder, read_model_config
from musicgen_core.util.fit import check_loaded


class EncodecCodec:
    """A transformers EncodecModel from a local folder, frozen. Codes equal the model's own, called directly."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        from transformers import EncodecModel  # seconds to import

        self.spec = read_codec_folder(folder)
        # without a bandwidth transformers takes the smallest, that is fewer codebooks
        self._bandwidth = codec_bandwidth(read_model_config(folder))
        loaded: Any = EncodecModel.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        model, report = loaded
        check_loaded(report, folder / WEIGHTS_NAME, REMEDY)
        if model.quantizer.num_quantizers != self.spec.num_codebooks:
            raise ValueError(
                f"{folder}: transformers builds {model.quantizer.num_quantizers} codebooks, the largest target "
                f"bandwidth {self._bandwidth} kb/s asks for {self.spec.num_codebooks}; list target_bandwidths ascending"
            )
        self._model = model.eval().requires_grad_(False).to(device)
        self._device = device

    @torch.no_grad()
    def latents(self, wav_BCN: torch.Tensor) -> torch.Tensor:
        check_wav(self.spec, wav_BCN)
        return self._model.encoder(wav_BCN.to(self._device))

    @torch.no_grad()
    def encode(self, wav_BCN: torch.Tensor) -> torch.Tensor:
        check_wav(self.spec, wav_BCN)
        encoded = self._model.encode(wav_BCN.to(self._device), bandwidth=self._bandwidth)
        assert len(encoded.audio_codes) == 1  # read_codec_folder refuses codecs that chunk, and those that scale
        assert encoded.audio_scales[0] is None
        return encoded.audio_codes[0]

    @torch.no_grad()
    def decode(self, codes_BKT: torch.Tensor) -> torch.Tensor:
        check_codes(self.spec, codes_BKT)
        return self._model.decode(codes_BKT.to(self._device)[None], [None]).audio_values
