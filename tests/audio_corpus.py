"""Prepared audio beside a corpus of made-up codes: melodies that tests can tell apart, in tars as resample writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from musicgen_core.data.shard_write import open_shard
from musicgen_core.stages.resample import encode_flac

RATE_HZ = 16000
NOTE_SEC = 0.25


def write_audio(root: Path, manifest: Path, rate_hz: int = RATE_HZ) -> Path:
    """Write the tar of the one bucket of a corpus, for the tracks of all its manifests -> its path."""
    lines = [json.loads(line) for path in sorted(manifest.glob("*.jsonl")) for line in path.read_text().splitlines()]
    path = root / "audio" / manifest.name / f"{lines[0]['bucket']}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_shard(path) as shard:
        for line in sorted(lines, key=lambda line: line["track"]):
            wav_N = play(notes_of(line["track"], line["num_samples"]), line["num_samples"], rate_hz)
            samples_N = np.round(wav_N * 2**23).astype(np.int32) << 8
            shard.add(f"{line['track']}.flac", encode_flac(samples_N[None], rate_hz))
    return path


def notes_of(key: str, num_samples: int) -> np.ndarray:
    """Pitch classes of a track's notes, a function of its key."""
    return np.random.default_rng(int(key[:12], 16)).integers(0, 12, num_samples // round(NOTE_SEC * RATE_HZ) + 1)


def play(notes: np.ndarray, num_samples: int, rate_hz: int = RATE_HZ) -> np.ndarray:
    """float32 sines, one after the other; class 0 is C."""
    times = np.arange(num_samples) / rate_hz
    frequency_N = 261.63 * 2 ** (notes[(times / NOTE_SEC).astype(int)] / 12)
    return (0.3 * np.sin(2 * np.pi * np.cumsum(frequency_N) / rate_hz)).astype(np.float32)
