"""What the codec alone loses: held-out audio sent through it and back. No model can sound better than this.

Legend: B batch, C channels, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from musicgen_core.codec.base import Codec
from musicgen_core.codec.fidelity import log_spectral_distance_db, si_snr_db
from musicgen_core.eval.figure import Figure, missing
from musicgen_core.eval.spectra import decibels, magnitudes, mel_filters
from musicgen_core.util.log import progress

WINDOWS_SAMPLES = (256, 512, 1024, 2048)
NUM_MELS = 64
FLOOR_DB = -80.0


@dataclass(frozen=True, kw_only=True)
class RoundTrip:
    """Distances between audio and its reconstruction, one value per piece that is not silent."""

    si_snr_db: list[float]
    """Scale-invariant signal-to-noise ratio; higher is better. Low values are no alarm for a codec that does not keep
    phase: listen."""

    log_mel_db: list[float]
    log_stft_db: list[float]
    num_silent: int
    """Pieces left out because all their samples are zero: a ratio to silence says nothing."""

    num_seconds: float


def round_trip_figures(
    references: Sequence[np.ndarray], outputs: Sequence[np.ndarray], sample_rate_hz: int
) -> dict[str, Figure]:
    """Means over pieces of wav_CN and their reconstructions."""
    trip = measure_round_trip(references, outputs, sample_rate_hz)
    samples = {"pieces": len(trip.si_snr_db), "silent_pieces": trip.num_silent, "seconds": round(trip.num_seconds)}
    notes = {
        "si_snr_db": "Scale-invariant signal-to-noise ratio; higher is better.",
        "log_mel_db": "Mean difference of mel spectra over windows of 256 to 2048 samples; lower is better.",
        "log_stft_db": "Root-mean-square difference of spectra over windows of 256 to 4096 samples; lower is better.",
    }
    if not trip.si_snr_db:
        return {name: missing("dB", "every held-out piece is silent") for name in notes}
    return {
        name: Figure(value=float(np.mean(getattr(trip, name))), unit="dB", samples=samples, note=note)
        for name, note in notes.items()
    }


@torch.inference_mode()
def reconstruct(codec: Codec, wavs: Sequence[np.ndarray], device: torch.device) -> list[np.ndarray]:
    """wav_CN through the codec and back, each cut to its own length."""
    outputs = []
    for wav_CN in progress(wavs, "codec round trip"):
        wav_BCN = torch.from_numpy(wav_CN)[None].to(device)
        decoded_BCN = codec.decode(codec.encode(wav_BCN))
        outputs.append(decoded_BCN[0, :, : wav_CN.shape[1]].cpu().numpy())
    return outputs


@torch.inference_mode()
def measure_round_trip(
    references: Sequence[np.ndarray], outputs: Sequence[np.ndarray], sample_rate_hz: int
) -> RoundTrip:
    """Compare pairs of wav_CN of equal shape."""
    pairs = [
        (torch.from_numpy(a)[None], torch.from_numpy(b)[None])
        for a, b in zip(references, outputs, strict=True)
        if a.any()
    ]
    return RoundTrip(
        si_snr_db=[float(si_snr_db(b, a)) for a, b in pairs],
        log_mel_db=[log_mel_distance_db(b[0], a[0], sample_rate_hz) for a, b in pairs],
        log_stft_db=[float(log_spectral_distance_db(b, a)) for a, b in pairs],
        num_silent=len(references) - len(pairs),
        num_seconds=sum(a.shape[-1] for a in references) / sample_rate_hz,
    )


def log_mel_distance_db(wav_CN: torch.Tensor, reference_CN: torch.Tensor, sample_rate_hz: int) -> float:
    """Mean |difference| in dB of 64 mel magnitudes above -80 dBFS, averaged over windows of 256 to 2048 samples."""
    distances = []
    for window in WINDOWS_SAMPLES:
        filters_MF = mel_filters(sample_rate_hz, window, NUM_MELS)
        a, b = (decibels(filters_MF @ magnitudes(wav, window), FLOOR_DB) for wav in (reference_CN, wav_CN))
        distances.append((a - b).abs().mean())
    return float(torch.stack(distances).mean())
