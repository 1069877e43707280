"""Is the music as fast as it should be? A wrong sample rate changes lengths, or it disagrees with the file.

Two things are looked at. Of every track: do the codes last as long as the prepared audio, and that as long as the
file? Of a few files: does a second reader (libsndfile) see the same rate, does a WAV header agree with itself (bytes
per second = rate x bytes per sample: Multimedia Programming Interface 1.0, IBM and Microsoft 1991), and is the prepared
audio what the file gives today? A file whose whole header was written for another rate, and which is the only witness
of its speed, cannot be told from music that was recorded so; `tuning.py` looks for a trace in the pitch.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from musicgen_core import native
from musicgen_core.data.manifest import ManifestRecord
from musicgen_core.data.prepare import SAMPLE_SCALE, prepare_track
from musicgen_core.preflight.finding import Finding, name_some
from musicgen_core.preflight.material import Material

TOLERANCE = 0.005
SLACK_SEC = 0.1
"""Lengths may differ by rounding and by a codec's frame."""

NUM_FILES = 8


def check_lengths(material: Material) -> Finding:
    """Of all tracks looked at: codes, prepared audio and file must last equally long."""
    spec, records = material.spec, material.train
    file_sec = np.array([record.duration for record in records])
    audio_sec = np.array([record.num_samples for record in records]) / spec.sample_rate_hz
    codes_sec = material.count_frames(records) / spec.frame_rate_hz
    for what, cause, long_sec, true_sec, shorter_is_fine, remedy in (
        ("the codes", "tokenised", codes_sec, audio_sec, False, "delete results/tokens and run snakemake again"),
        (
            "the prepared audio",
            "prepared",
            audio_sec,
            file_sec,
            material.root.audio.trim_silence_dbfs is not None,
            "delete results/audio and run snakemake again",
        ),
    ):
        off = np.abs(long_sec - true_sec) > np.maximum(TOLERANCE * true_sec, SLACK_SEC)
        off &= (long_sec > true_sec) | (not shorter_is_fine)
        if off.any():
            ratio = float(np.median(long_sec[off] / np.maximum(true_sec[off], 1e-9)))
            bad = [records[i] for i in np.flatnonzero(off)]
            return Finding(
                check="rate",
                level="problem",
                text=f"wrong sample rate: {what} of {len(bad)} of {len(records)} tracks last {ratio:.3g} times as long "
                f"as {'the prepared audio' if what == 'the codes' else 'the files'}: {cause} as if "
                f"{_explain(ratio, bad, spec.sample_rate_hz)} ({name_some([record.path for record in bad])})",
                remedy=remedy,
                figures={"ratio": ratio, "tracks": [record.path for record in bad]},
            )
    return Finding(
        check="rate",
        level="ok",
        text=f"codes, prepared audio and files of {len(records)} tracks last equally long "
        f"({audio_sec.sum() / 3600:.2f} h at {spec.sample_rate_hz} Hz, {spec.frame_rate_hz:g} frames/s)",
    )


def _explain(ratio: float, records: Sequence[ManifestRecord], rate_hz: int) -> str:
    source_hz = [record.sample_rate for record in records if abs(record.sample_rate / rate_hz / ratio - 1) < 0.02]
    heard_hz = source_hz[0] if source_hz else round(ratio * rate_hz)
    return f"audio of {heard_hz} Hz were of {rate_hz} Hz"


def check_files(material: Material) -> Finding:
    """Of a few files: two readers, the header, and what preparing them gives today."""
    records = material.train[:NUM_FILES]
    faults, skipped = [], []
    prepared = dict(zip([r.track for r in records], material.read_prepared(records, None), strict=True))
    for record in records:
        path = material.folders[record.corpus] / record.path
        if not path.is_file():
            skipped.append(record.path)
            continue
        fault = _compare_readers(path) or _compare_prepared(material, record, prepared[record.track])
        if fault:
            faults.append(f"{record.path}: {fault}")
    if faults:
        return Finding(
            check="files",
            level="problem",
            text=f"{len(faults)} of {len(records)} files disagree: {'; '.join(faults[:3])}",
            remedy="mend these files' headers (ffmpeg -i BAD -ar RATE NEW), or prepare the audio again: delete "
            "results/audio and results/tokens and run snakemake",
            figures={"faults": faults},
        )
    if skipped:
        return Finding(
            check="files",
            level="warning",
            text=f"{len(skipped)} of {len(records)} files are not where they were: {name_some(skipped)}",
            remedy="run `snakemake --profile local tokens` with the music in place",
        )
    rates = sorted({record.sample_rate for record in material.train})
    return Finding(
        check="files",
        level="ok",
        text=f"{len(records)} files give the prepared audio to the bit, two readers agree on their rates "
        f"(in the corpus: {', '.join(f'{rate} Hz' for rate in rates)})",
    )


def _compare_readers(path: Path) -> str | None:
    import soundfile

    ours = native.probe(path)
    try:
        theirs = soundfile.info(str(path))
    except soundfile.LibsndfileError:
        theirs = None  # m4a, opus in mp4, ...: libsndfile does not read them
    if theirs is not None and theirs.samplerate != ours.sample_rate_hz and ours.codec != "opus":
        return f"wrong sample rate: {ours.sample_rate_hz} Hz here, {theirs.samplerate} Hz by libsndfile"
    return _check_wav_header(path)


def _check_wav_header(path: Path) -> str | None:
    """A rate that was patched in by hand usually leaves the bytes per second as they were."""
    with open(path, "rb") as handle:
        head = handle.read(4096)
    place = head.find(b"fmt ")
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE" or place < 0 or len(head) < place + 24:
        return None
    kind, channels, rate_hz, bytes_per_sec, align, bits = struct.unpack_from("<HHIIHH", head, place + 8)
    pcm = kind in (1, 3) and align == channels * bits // 8
    if pcm and align and bytes_per_sec and bytes_per_sec != rate_hz * align:
        return (
            f"wrong sample rate: its header says {rate_hz} Hz, but its {bytes_per_sec} bytes per second of {align} "
            f"bytes are {bytes_per_sec // align} Hz"
        )
    return None


def _compare_prepared(material: Material, record: ManifestRecord, prepared_CN: np.ndarray) -> str | None:
    try:
        samples_CN, again = prepare_track(material.folders[record.corpus], record.path, record.track, material.resample)
    except ValueError as error:
        return str(error)
    if samples_CN is None:
        return f"it is rejected now ({again.reason}: {again.detail})"
    fresh_CN = (samples_CN >> 8).astype(np.float32) / np.float32(SAMPLE_SCALE)
    if fresh_CN.shape != prepared_CN.shape:
        ratio = prepared_CN.shape[1] / fresh_CN.shape[1]
        return (
            f"its prepared audio has {prepared_CN.shape[1]} samples, the file gives {fresh_CN.shape[1]} at "
            f"{material.spec.sample_rate_hz} Hz: {ratio:.3g} times as long, so it has a wrong sample rate"
        )
    worst = float(np.abs(fresh_CN - prepared_CN).max(initial=0.0))
    return f"its prepared audio differs from what the file gives by up to {worst:.2g}" if worst > 1e-4 else None
