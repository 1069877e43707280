"""A trace of a wrong sample rate in the pitch: is the music tuned to A = 440 Hz?

Files of 44.1 kHz taken for 48 kHz, or the reverse, sound 147 cents off, which is 47 cents between two keys of a
piano; so are 32 and 44.1 kHz, nearly. (A factor of 2, 1.5 or 3 is a musical interval and leaves no trace.) Peaks of the
spectrum vote with their power for their distance from equal temperament; the vote is a mean on the circle of 100 cents,
and its length says how much the peaks agree.

Legend: C channels, N samples, F frequencies, T frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from musicgen_core.data.manifest import ManifestRecord
from musicgen_core.eval.spectra import magnitudes
from musicgen_core.preflight.finding import Finding, name_some

WINDOW_SAMPLES = 8192
LOW_HZ, HIGH_HZ = 110.0, 1760.0
SURE, FAR_CENTS = 0.5, 30.0
"""Agreement from which a tuning is heard, and distance from A = 440 Hz from which it is odd."""

MIN_TRACKS = 3


def check_tuning(records: Sequence[ManifestRecord], originals: Sequence[np.ndarray], sample_rate_hz: int) -> Finding:
    """Over the excerpts that are tonal enough to have a tuning."""
    heard = []
    for record, wav_CN in zip(records, originals, strict=True):
        cents, sure = measure_tuning(wav_CN, sample_rate_hz)
        if sure >= SURE:
            heard.append((record.path, cents))
    off = [(path, cents) for path, cents in heard if abs(cents) > FAR_CENTS]
    figures = {"cents": dict(heard)}
    if len(heard) < MIN_TRACKS:
        return Finding(
            check="tuning",
            level="ok",
            text=f"{len(heard)} of {len(records)} excerpts have a clear pitch: too few to tell a tuning",
            figures=figures,
        )
    typical = float(np.median([cents for _, cents in heard]))
    if len(off) > len(heard) / 2:
        said = name_some([f"{path} {cents:+.0f}" for path, cents in off], 3)
        return Finding(
            check="tuning",
            level="warning",
            text=f"wrong sample rate? {len(off)} of {len(heard)} excerpts are out of tune with A = 440 Hz by more than "
            f"{FAR_CENTS:g} cents ({said}): 44.1 kHz taken for 48 kHz or the reverse is 47 cents",
            remedy="compare the speed with a recording that you know; correct the files' headers",
            figures=figures,
        )
    text = f"{len(heard)} of {len(records)} excerpts have a clear pitch, {typical:+.0f} cents from A = 440 Hz"
    return Finding(check="tuning", level="ok", text=text, figures=figures)


def measure_tuning(wav_CN: np.ndarray, sample_rate_hz: int) -> tuple[float, float]:
    """(cents from equal temperament on A = 440 Hz, -50 to 50; how much the peaks agree, 0 to 1).

    Peaks between 110 and 1760 Hz, placed between bins by a parabola through the logarithms (Smith & Serra 1987).
    """
    wav = torch.from_numpy(np.ascontiguousarray(wav_CN.mean(axis=0, keepdims=True), dtype=np.float32))
    log_FT = magnitudes(wav, WINDOW_SAMPLES)[0].double().clamp_min(1e-7).log().numpy()
    low, centre, high = log_FT[:-2], log_FT[1:-1], log_FT[2:]
    loud = centre > log_FT.max(axis=0) - np.log(100)  # within 40 dB of the loudest
    peaks = (centre > low) & (centre >= high) & loud & (centre > np.log(1e-4))
    bins, frames = np.nonzero(peaks)
    a, b, c = low[bins, frames], centre[bins, frames], high[bins, frames]
    place = bins + 1 + 0.5 * (a - c) / np.minimum(a - 2 * b + c, -1e-12)
    hz = place * sample_rate_hz / WINDOW_SAMPLES
    kept = (hz > LOW_HZ) & (hz < HIGH_HZ)
    if not kept.any():
        return 0.0, 0.0
    cents = 1200 * np.log2(hz[kept] / 440.0)
    power = np.exp(2 * b[kept])
    vote = (power * np.exp(2j * np.pi * cents / 100)).sum() / power.sum()
    return float(np.angle(vote) / (2 * np.pi) * 100), float(np.abs(vote))
