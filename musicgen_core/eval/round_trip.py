"""What the codec alone loses: held-out audio sent through it and back. No model can sound better than this.

Legend: B batch, C channels, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from musicgen_core.codec.base import Codec
from musicgen_core.eval.spectra import decibels, magnitudes, mel_filters
from musicgen_core.util.log import progress

WINDOWS_SAMPLES = (256, 512, 1024, 2048)
NUM_MELS = 64
FLOOR_DB = -80.0


@dataclass(frozen=True, kw_only=True)
class RoundTrip:
    """Distances between audio and its reconstruction, one value per piece."""

    si_snr_db: list[float]
    log_mel_db: list[float]
    log_stft_db: list[float]
    num_seconds: float


@torch.inference_mode()
def reconstruct(codec: Codec, wavs: Sequence[np.ndarray], device: torch.device) -> list[np.ndarray]:
    """wav_CN through the codec and back, each cut to its own length."""
    outputs = []
    for wav_CN in progress(wavs, "codec round trip"):
        wav_BCN = torch.from_numpy(wav_CN)[None].to(device)
        decoded_BCN = codec.decode(codec.encode(wav_BCN))
        outputs.append(decoded_BCN[0, :, : wav_CN.shape[1]].cpu().numpy())
    return outputs


def measure_round_trip(
    references: Sequence[np.ndarray], outputs: Sequence[np.ndarray], sample_rate_hz: int
) -> RoundTrip:
    """Compare pairs of wav_CN of equal shape."""
    pairs = [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in zip(references, outputs, strict=True)]
    return RoundTrip(
        si_snr_db=[si_snr_db(a, b) for a, b in pairs],
        log_mel_db=[log_mel_distance_db(a, b, sample_rate_hz) for a, b in pairs],
        log_stft_db=[log_stft_distance_db(a, b) for a, b in pairs],
        num_seconds=sum(a.shape[-1] for a in references) / sample_rate_hz,
    )


def si_snr_db(reference_CN: torch.Tensor, output_CN: torch.Tensor) -> float:
    """Scale-invariant signal-to-noise ratio, mean over channels, in dB; higher is better.

    Le Roux et al. 2019 (arXiv:1811.02508), zero-mean form. Held within ±100 dB, which identical audio reaches.
    """
    reference, output = reference_CN.double(), output_CN.double()
    reference = reference - reference.mean(dim=-1, keepdim=True)
    output = output - output.mean(dim=-1, keepdim=True)
    energy = reference.square().sum(dim=-1, keepdim=True)
    target = (output * reference).sum(dim=-1, keepdim=True) / energy.clamp_min(1e-20) * reference
    ratio = target.square().sum(dim=-1).clamp_min(1e-20) / (output - target).square().sum(dim=-1).clamp_min(1e-20)
    return float((10 * torch.log10(ratio)).clamp(-100, 100).mean())


def log_mel_distance_db(reference_CN: torch.Tensor, output_CN: torch.Tensor, sample_rate_hz: int) -> float:
    """Mean |difference| in dB of mel magnitudes above -80 dBFS, averaged over windows of 256 to 2048 samples."""
    distances = []
    for window in WINDOWS_SAMPLES:
        filters_MF = mel_filters(sample_rate_hz, window, NUM_MELS)
        a, b = (decibels(filters_MF @ magnitudes(wav.float(), window), FLOOR_DB) for wav in (reference_CN, output_CN))
        distances.append((a - b).abs().mean())
    return float(torch.stack(distances).mean())


def log_stft_distance_db(reference_CN: torch.Tensor, output_CN: torch.Tensor) -> float:
    """The same over all STFT bins, so that high frequencies weigh more."""
    distances = [
        (decibels(magnitudes(reference_CN.float(), w), FLOOR_DB) - decibels(magnitudes(output_CN.float(), w), FLOOR_DB))
        .abs()
        .mean()
        for w in WINDOWS_SAMPLES
    ]
    return float(torch.stack(distances).mean())
