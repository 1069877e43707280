"""What the codec leaves of the user's music: figures, and audio to listen to.

The decoded side is made of the stored codes: it is what the model will learn to say.

Legend: C channels, N samples, F frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from musicgen_core import native
from musicgen_core.data.manifest import ManifestRecord
from musicgen_core.eval.round_trip import measure_round_trip
from musicgen_core.eval.spectra import magnitudes
from musicgen_core.preflight.codes import decode_codes
from musicgen_core.preflight.finding import Finding
from musicgen_core.preflight.material import EXCERPT_SEC, Material

LEVEL_DB, MEL_DB = 6.0, 12.0
"""Change of level, and mean difference of mel spectra, from which to doubt that a codec fits the music."""

WINDOW_SAMPLES = 2048
ENERGY_SHARE = 0.999


@dataclass(frozen=True)
class Excerpt:
    """The start of a track, before and after the codec."""

    record: ManifestRecord
    original_CN: np.ndarray
    """Prepared audio."""

    decoded_CN: np.ndarray
    """Of the stored codes."""


def make_excerpts(
    material: Material, records: Sequence[ManifestRecord], originals: Sequence[np.ndarray]
) -> list[Excerpt]:
    excerpts = []
    for record, wav_CN in zip(records, originals, strict=True):
        frames = -(-wav_CN.shape[1] // material.spec.hop_samples)
        codes_KT = material.read_codes(record, frames)
        excerpts.append(Excerpt(record, wav_CN, decode_codes(material.codec, codes_KT, wav_CN.shape[1])))
    return excerpts


def check_round_trip(material: Material, excerpts: Sequence[Excerpt]) -> Finding:
    """Distances over all excerpts, the level, and how much of the file lies above what the codec holds."""
    rate_hz = material.spec.sample_rate_hz
    sounding = [excerpt for excerpt in excerpts if excerpt.original_CN.any()]
    if not sounding:
        return Finding(check="round trip", level="problem", text="every excerpt is silent", remedy="look at the files")
    trip = measure_round_trip([e.original_CN for e in sounding], [e.decoded_CN for e in sounding], rate_hz)
    change_db = [_level_db(e.decoded_CN) - _level_db(e.original_CN) for e in sounding]
    tops = [(find_top_hz(e.original_CN, rate_hz), find_top_hz(e.decoded_CN, rate_hz)) for e in sounding]
    lost = [share for e in sounding if (share := _lost_share(material, e.record)) is not None]
    mel_db, snr_db, level_db = np.mean(trip.log_mel_db), np.mean(trip.si_snr_db), float(np.median(change_db))
    figures = {
        "log_mel_db": trip.log_mel_db,
        "log_stft_db": trip.log_stft_db,
        "si_snr_db": trip.si_snr_db,
        "level_change_db": change_db,
        "top_hz": tops,
        "lost_energy_share": lost,
        "tracks": [e.record.path for e in sounding],
    }
    text = (
        f"{len(sounding)} excerpts through the codec and back: mel spectra differ by {mel_db:.1f} dB, SNR {snr_db:.1f} "
        f"dB, level {level_db:+.1f} dB; 99.9 % of the energy lies below {np.median([t[0] for t in tops]) / 1000:.1f} "
        f"kHz before and {np.median([t[1] for t in tops]) / 1000:.1f} kHz after"
    )
    if lost:
        text += f"; the codec ends at {rate_hz / 2000:g} kHz, where {np.mean(lost):.2%} of the files' energy is lost"
    if mel_db > MEL_DB or abs(level_db) > LEVEL_DB:
        return Finding(
            check="round trip",
            level="warning",
            text=f"the codec may not carry this music: {text}",
            remedy="listen to the pairs in the report; see the line `codebooks`, or choose another codec",
            figures=figures,
        )
    return Finding(check="round trip", level="ok", text=f"{text}: listen in the report", figures=figures)


def find_top_hz(wav_CN: np.ndarray, sample_rate_hz: int) -> float:
    """Frequency below which 99.9 % of the energy lies."""
    wav = torch.from_numpy(np.ascontiguousarray(wav_CN, dtype=np.float32))
    power_F = magnitudes(wav, WINDOW_SAMPLES).double().square().mean(dim=(0, 2)).numpy()
    share_F = power_F.cumsum() / max(power_F.sum(), 1e-30)
    return float(np.searchsorted(share_F, ENERGY_SHARE)) * sample_rate_hz / WINDOW_SAMPLES


def write_audio(folder: Path, excerpts: Sequence[Excerpt], sample_rate_hz: int) -> None:
    """Pairs of 16-bit FLAC: NUMBER.original.flac, NUMBER.decoded.flac."""
    import soundfile

    folder.mkdir()
    for number, excerpt in enumerate(excerpts):
        for name, wav_CN in (("original", excerpt.original_CN), ("decoded", excerpt.decoded_CN)):
            path = folder / f"{number:02d}.{name}.flac"
            soundfile.write(path, np.clip(wav_CN, -1, 1).T, sample_rate_hz, format="FLAC", subtype="PCM_16")


def _level_db(wav_CN: np.ndarray) -> float:
    return float(10 * np.log10(max(float(np.square(wav_CN.astype(np.float64)).mean()), 1e-12)))


def _lost_share(material: Material, record: ManifestRecord) -> float | None:
    """Share of a file's energy above half the codec's rate; None where the file is gone or holds nothing there."""
    path = material.folders[record.corpus] / record.path
    if not path.is_file() or record.sample_rate <= material.spec.sample_rate_hz:
        return None
    wav_CN, rate_hz = native.decode(path)
    wav = torch.from_numpy(np.ascontiguousarray(wav_CN[:, : round(EXCERPT_SEC * rate_hz)]))
    power_F = magnitudes(wav, WINDOW_SAMPLES).double().square().mean(dim=(0, 2)).numpy()
    edge = round(material.spec.sample_rate_hz / 2 * WINDOW_SAMPLES / rate_hz)
    return float(power_F[edge:].sum() / max(power_F.sum(), 1e-30))
