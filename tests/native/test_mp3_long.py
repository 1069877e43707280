"""An hour of VBR: a segment is exact, and reads as little at the end as at the start."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from musicgen_core import native

from .mp3_files import BARE, MP3, encode, frames, id3v2, signal, vbri

RATE_HZ = 22_050


@pytest.fixture(scope="module")
def hour(tmp_path_factory):
    """An hour by repeating a minute: every encode begins with an empty bit reservoir. With a picture in front."""
    folder = tmp_path_factory.mktemp("hour")
    encode(folder / "minute.mp3", (*MP3, "-q:a", "6", *BARE), np.tile(signal(220_500, 1, RATE_HZ), (1, 6)), RATE_HZ)
    minute = (folder / "minute.mp3").read_bytes()
    parts = frames(minute)
    path = folder / "hour.mp3"
    count = 60 * len(parts)
    path.write_bytes(id3v2(1 << 20) + vbri(max(parts, key=len), count, 60 * len(minute)) + minute * 60)
    time.sleep(2.1)  # younger files are not remembered: their time stamps cannot be trusted yet
    return path


@pytest.fixture(scope="module")
def whole(hour):
    wav_CN, rate_hz = native.decode(hour)
    assert rate_hz == RATE_HZ
    assert wav_CN.shape[1] >= 3600 * RATE_HZ
    return wav_CN


def test_segments_of_an_hour(hour, whole):
    rng = np.random.default_rng(5)
    num_samples = whole.shape[1]
    for start in (*rng.integers(0, num_samples, 60), 0, num_samples - 1000):
        segment, _ = native.decode_segment(hour, int(start), 10_000)
        assert segment.tobytes() == whole[:, start : start + 10_000].tobytes()


def bytes_read(path: Path, start: int, count: int) -> int:
    """What one segment asks of the operating system."""

    def total() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    overhead = -total() + total()
    before = total()
    native.decode_segment(path, start, count)
    return total() - before - overhead


def test_the_place_of_a_segment_does_not_matter(hour):
    num_samples = native.probe(hour).num_samples
    assert num_samples is not None
    assert num_samples >= 3600 * RATE_HZ
    native.decode_segment(hour, num_samples - 1000, 1000)
    costs = [bytes_read(hour, start, RATE_HZ) for start in np.linspace(0, num_samples - RATE_HZ, 50).astype(int)]
    assert max(costs) <= 3 * 65_536, "one second, its pre-roll and the file's first bytes, never its picture"


def test_threads_share_the_index(hour, whole):
    from concurrent.futures import ThreadPoolExecutor

    starts = [int(start) for start in np.random.default_rng(6).integers(0, whole.shape[1] - 5000, 64)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda start: native.decode_segment(hour, start, 5000)[0], starts))
    for start, segment in zip(starts, found, strict=True):
        assert segment.tobytes() == whole[:, start : start + 5000].tobytes()
