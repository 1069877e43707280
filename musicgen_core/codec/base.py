"""What every codec can do, and how a whole track becomes codes.

Legend: B batch, C audio channels, N samples, K codebooks, T frames, D latent width. T = ceil(N / hop).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from musicgen_core.config.data import CodecSpec, TokenizeConfig


class Codec(Protocol):
    """A frozen neural codec: waveform to codes and back."""

    spec: CodecSpec

    def encode(self, wav_BCN: torch.Tensor) -> torch.Tensor:
        """float32 waveform at the codec's rate and channels -> codes_BKT int64 in [0, card), all codebooks."""
        ...

    def decode(self, codes_BKT: torch.Tensor) -> torch.Tensor:
        """Codes -> wav_BCN float32 of T * hop samples."""
        ...

    def latents(self, wav_BCN: torch.Tensor) -> torch.Tensor:
        """The encoder's output before quantisation, latents_BDT float32."""
        ...


def encode_track(codec: Codec, wav_CN: np.ndarray, config: TokenizeConfig) -> np.ndarray:
    """Codes uint16 [K, T] of a whole track, T = ceil(N / hop); memory is that of one chunk.

    The track is encoded in chunks of `chunk_sec`, each with `overlap_sec` of context on both sides whose codes are
    dropped. One chunk at a time: the codes are a function of the samples and the config, never of a batch's other
    members. They equal those of one whole encode, but for near-ties that the codec's memory beyond the context (its
    LSTM) decides; tests/unit/codec holds the share. ValueError for another channel count or an empty track.
    """
    spec = codec.spec
    num_channels, num_samples = wav_CN.shape
    if num_channels != spec.num_channels:
        raise ValueError(
            f"track has {num_channels} channels, codec {spec.name} takes {spec.num_channels}; mix it first"
        )
    if num_samples == 0:
        raise ValueError(f"track has 0 samples, codec {spec.name} needs at least 1")
    num_frames = -(-num_samples // spec.hop_samples)
    chunk_frames = max(1, round(config.chunk_sec * spec.frame_rate_hz))
    overlap_frames = round(config.overlap_sec * spec.frame_rate_hz)
    codes_KT = np.empty((spec.num_codebooks, num_frames), dtype=np.uint16)
    for start in range(0, num_frames, chunk_frames):
        stop = min(start + chunk_frames, num_frames)
        first = max(0, start - overlap_frames)
        last = min(num_frames, stop + overlap_frames)
        piece_CN = np.ascontiguousarray(wav_CN[:, first * spec.hop_samples : last * spec.hop_samples], dtype=np.float32)
        piece_KT = codec.encode(torch.from_numpy(piece_CN)[None])[0].cpu().numpy()
        assert piece_KT.shape[1] == last - first
        codes_KT[:, start:stop] = piece_KT[:, start - first : stop - first]
    return codes_KT


def check_wav(spec: CodecSpec, wav_BCN: torch.Tensor) -> None:
    """ValueError unless the waveform has the codec's channels and at least one sample."""
    if wav_BCN.ndim != 3 or wav_BCN.shape[1] != spec.num_channels or wav_BCN.shape[2] == 0:
        raise ValueError(
            f"codec {spec.name} takes [B, {spec.num_channels}, N > 0], got {tuple(wav_BCN.shape)}; mix channels first"
        )


def check_codes(spec: CodecSpec, codes_BKT: torch.Tensor) -> None:
    """ValueError unless the codes have the codec's codebooks and lie in [0, card)."""
    if codes_BKT.ndim != 3 or codes_BKT.shape[1] != spec.num_codebooks or codes_BKT.shape[2] == 0:
        raise ValueError(f"codec {spec.name} takes [B, {spec.num_codebooks}, T > 0], got {tuple(codes_BKT.shape)}")
    low, high = int(codes_BKT.min()), int(codes_BKT.max())
    if low < 0 or high >= spec.card:
        raise ValueError(
            f"codes lie in [{low}, {high}], codec {spec.name} has [0, {spec.card - 1}]; special tokens must be removed"
        )
