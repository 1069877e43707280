"""Prepare one track: decode, resample, mix, trim, judge, and bring to loudness."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from musicgen_core import native
from musicgen_core.config.root import ResampleStageConfig
from musicgen_core.data.records import PreparedRecord

SAMPLE_SCALE = 2**23


def prepare_track(
    folder: Path, path: str, key: str, config: ResampleStageConfig
) -> tuple[np.ndarray | None, PreparedRecord]:
    """Prepare the file `folder/path`, whose bytes must still have the digest `key`.

    Returns (samples_CN int32 of 24 bits at the config's rate and channels, record), or (None, record) with the reason
    when the track is corrupt, too short, too long or silent. Raises ValueError when the file changed since the plan.
    """
    data = _read_planned(folder, path, key)
    rejected = PreparedRecord(key=key, path=path, status="rejected")
    try:
        wav_CN, source_hz = native.decode(data, path)
    except native.AudioError as error:
        return None, replace(rejected, reason="corrupt", detail=str(error).removeprefix(f"{path}: "))
    source_channels, source_samples = wav_CN.shape
    rejected = replace(
        rejected,
        sample_rate_hz=source_hz,
        num_channels=source_channels,
        duration_sec=source_samples / source_hz,
        peak=float(np.abs(wav_CN).max(initial=0.0)),
    )
    if not np.isfinite(wav_CN).all():
        return None, replace(rejected, reason="corrupt", detail="decodes to samples that are not finite")
    if (refusal := _judge_length(source_samples / source_hz, config)) is not None:
        return None, replace(rejected, reason=refusal[0], detail=refusal[1])

    # AudioCraft's order (audiocraft/data/audio_utils.py): all channels are resampled, then mixed
    wav_CN = native.resample(wav_CN, source_hz, config.sample_rate_hz, config.audio.resampler)
    wav_CN = native.mix(wav_CN, config.num_channels)
    if (refusal := _judge_level(wav_CN, config)) is not None:
        return None, replace(rejected, reason=refusal[0], detail=refusal[1])
    if config.audio.trim_silence_dbfs is not None:
        start, end = native.sound_bounds(wav_CN, config.audio.trim_silence_dbfs)
        wav_CN = wav_CN[:, start:end]
        if (refusal := _judge_length(wav_CN.shape[1] / config.sample_rate_hz, config)) is not None:
            return None, replace(rejected, reason=refusal[0], detail=f"after trimming: {refusal[1]}")
    gain_db, loudness_lufs = _find_gain(wav_CN, config)
    samples_CN, num_clipped = _quantise(wav_CN * np.float32(10.0 ** (gain_db / 20.0)) if gain_db else wav_CN)
    return samples_CN, replace(
        rejected,
        status="used",
        num_samples=samples_CN.shape[1],
        loudness_lufs=loudness_lufs,
        gain_db=gain_db,
        num_clipped_samples=num_clipped,
    )


def _read_planned(folder: Path, path: str, key: str) -> bytes:
    """Read the bytes once, and check and decode the very same ones."""
    try:
        data = (folder / path).read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{folder / path}: gone since the plan; start snakemake again") from None
    if native.hash_bytes(data) != key:
        raise ValueError(f"{folder / path}: changed since the plan; start snakemake again")
    return data


def _judge_length(length_sec: float, config: ResampleStageConfig) -> tuple[str, str] | None:
    if length_sec < config.min_duration_sec:
        return "too_short", f"{length_sec:.3f} s, less than data.min_duration_sec {config.min_duration_sec:g}"
    if config.max_duration_sec is not None and length_sec > config.max_duration_sec:
        return "too_long", f"{length_sec:.3f} s, more than data.max_duration_sec {config.max_duration_sec:g}"
    return None


def _judge_level(wav_CN: np.ndarray, config: ResampleStageConfig) -> tuple[str, str] | None:
    peak = float(np.abs(wav_CN).max(initial=0.0))
    peak_dbfs = 20.0 * math.log10(peak) if peak > 0.0 else -math.inf
    if peak_dbfs < config.silence_dbfs:
        return "silent", f"peak {peak_dbfs:.1f} dBFS, less than data.silence_dbfs {config.silence_dbfs:g}"
    return None


def _find_gain(wav_CN: np.ndarray, config: ResampleStageConfig) -> tuple[float, float | None]:
    """Return (gain in dB, loudness after it). The gain stops where the true peak would pass its ceiling."""
    measure = native.measure(wav_CN, config.sample_rate_hz)
    target = config.audio.loudness_lufs
    if measure.loudness_lufs is None or target is None:
        return 0.0, measure.loudness_lufs
    gain_db = target - measure.loudness_lufs
    if measure.true_peak_dbtp is not None:
        gain_db = min(gain_db, config.audio.true_peak_dbtp - measure.true_peak_dbtp)
    return gain_db, measure.loudness_lufs + gain_db


def _quantise(wav_CN: np.ndarray) -> tuple[np.ndarray, int]:
    """Round to 24 bits, held in the upper bits of int32 as libsndfile wants them; and how many were clipped."""
    scaled_CN = np.rint(wav_CN.astype(np.float64) * SAMPLE_SCALE)
    clipped_CN = np.clip(scaled_CN, -SAMPLE_SCALE, SAMPLE_SCALE - 1)
    return clipped_CN.astype(np.int32) << 8, int(np.count_nonzero(scaled_CN != clipped_CN))
