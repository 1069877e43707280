"""A mono codec for stereo audio: left and right are coded apart, and their codebooks alternate.

Legend: B batch, N samples, K codebooks of the pair, T frames, D latent width.
"""

from __future__ import annotations

from pathlib import Path

import torch

from musicgen_core.codec.base import Codec, check_codes, check_wav
from musicgen_core.config.codec_channels import with_channels


class StereoCodec:
    """Codes L1, R1, L2, R2, ...: those of each channel equal the mono codec's own."""

    def __init__(self, mono: Codec, folder: Path) -> None:
        self.spec = with_channels(mono.spec, 2, folder)
        self._mono = mono

    def encode(self, wav_BCN: torch.Tensor) -> torch.Tensor:
        check_wav(self.spec, wav_BCN)
        codes = [self._mono.encode(wav_B1N) for wav_B1N in wav_BCN.split(1, dim=1)]
        return torch.stack(codes, dim=2).flatten(1, 2)

    def decode(self, codes_BKT: torch.Tensor) -> torch.Tensor:
        check_codes(self.spec, codes_BKT)
        return torch.cat([self._mono.decode(codes_BKT[:, channel::2]) for channel in range(2)], dim=1)

    def latents(self, wav_BCN: torch.Tensor) -> torch.Tensor:
        """Those of the left channel above those of the right: [B, 2 D, T]."""
        check_wav(self.spec, wav_BCN)
        return torch.cat([self._mono.latents(wav_B1N) for wav_B1N in wav_BCN.split(1, dim=1)], dim=1)
