"""Memory over a long loop: `python benchmarks/bench_memory.py --minutes 60` prints what the process holds by the minute

Claim: memory stays flat over an hour of token batches and audio segments. What is kept of files that were read has
limits (seek indexes 64 MiB, PCM layouts 16 MiB), so they are reached first, by files under ever new names; then the
clock starts, while new names keep coming and push old ones out. Of MPEG audio 16 MiB may be kept, which takes some
40,000 files. Growth is counted from the end of the first minute.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import record
import torch
from bench_batches import CODEC, PATTERN, SEGMENT_FRAMES, write_corpus
from encoded import ENCODERS, MORE_ENCODERS, write_tracks

from musicgen_core import native
from musicgen_core.data.audio_segments import AudioSegments
from musicgen_core.data.batches import TokenDataset
from musicgen_core.data.tracks import open_tracks

TARGET_HZ, TRACK_SEC, COPIES = 32_000, 60, 12
FILL_OPENS = {"wav": 25_000, "aac-adts": 12_000}
"""Opens of files under new names that reach each limit."""


def memory_mb() -> dict[str, float]:
    """What the process holds: `anonymous` is its own, `resident` also has pages of mapped files."""
    status = Path("/proc/self/status").read_text()
    fields = {"resident": "VmRSS", "anonymous": "RssAnon"}
    return {name: round(int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024, 2) for name, field in fields.items()}


class NewNames:
    """Files that are renamed before each use, so that the extension takes each for one that it has never seen."""

    def __init__(self, folder: Path, source: Path, num_files: int) -> None:
        folder.mkdir()
        self._numbers = count()
        self._waiting = deque(Path(shutil.copy(source, self._name(folder, source))) for _ in range(num_files))

    def _name(self, folder: Path, path: Path) -> Path:
        return folder / f"{next(self._numbers):08d}{'-a-long-name' * 16}{path.suffix}"

    def read(self) -> None:
        """Read from the file that was renamed longest ago, and rename it."""
        path = self._waiting.popleft()
        read(path, 20.0)
        self._waiting.append(path.rename(self._name(path.parent, path)))


def read(path: Path, start_sec: float) -> None:
    start, length = int(start_sec * TARGET_HZ), TARGET_HZ
    native.read_segment(path, start, length, sample_rate_hz=TARGET_HZ, num_channels=1)


def loop(folder: Path) -> Iterator[str]:
    """Endless: does something, and says what. Before the first `full` the limits are reached."""
    (folder / "tokens").mkdir()
    write_corpus(folder / "tokens")
    tracks = open_tracks([folder / "tokens"], [folder / "tokens/index.bin"], "train", CODEC)
    options = {"segment_frames": SEGMENT_FRAMES, "min_segment_ratio": 0.8, "pattern": PATTERN}
    tokens = TokenDataset(tracks, seed=0, batch_size=32, **options)
    paths = write_tracks(folder, {**ENCODERS, **MORE_ENCODERS}, TRACK_SEC)
    copies = [
        Path(shutil.copy(path, folder / f"copy {n} {path.name}")) for path in paths.values() for n in range(COPIES)
    ]
    options = {"seed": 0, "batch_size": 8, "segment_sec": 2.0, "sample_rate_hz": TARGET_HZ, "num_threads": 2}
    audio = AudioSegments(copies, **options)
    new = {name: NewNames(folder / f"new {name}", path, COPIES) for name, path in paths.items()}
    for name, num_opens in FILL_OPENS.items():
        for _ in range(num_opens):
            new[name].read()
    yield "full"
    for number in count():
        for round_ in range(40):
            tokens.read(32 * (40 * number + round_))
            yield "token batches"
        audio.read(8 * number)
        yield "audio batches"
        for name in new:
            new[name].read()
            yield "new files"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=60)
    record.add_flag(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started_sec = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        work = loop(Path(folder))
        next(work)
        rows = [memory_mb()]
        fill_sec = time.monotonic() - started_sec
        print(f"limits reached after {fill_sec:.0f} s: {rows[0]}", flush=True)
        started_sec, done = time.monotonic(), Counter[str]()
        for what in work:
            done[what] += 1
            if time.monotonic() - started_sec >= 60 * len(rows):
                rows.append(memory_mb())
                print(f"minute {len(rows) - 1}: {rows[-1]}, {dict(done)}", flush=True)
                if len(rows) > arguments.minutes:
                    break
    table = {name: [row[name] for row in rows] for name in rows[0]}
    after = {name: values[1:] for name, values in table.items()}
    growth = {name: round(values[-1] - values[0], 2) for name, values in after.items()}
    slope = {name: round(60 * slope_of(values), 2) for name, values in after.items()}
    print(f"growth from minute 1 to {arguments.minutes}, MB: {growth}; by the line of least squares, MB/h: {slope}")
    figures = {"minutes": arguments.minutes, "done": dict(done), "fill_sec": round(fill_sec), "memory_mb": table}
    record.write(arguments, "memory", {**figures, "growth_mb": growth, "slope_mb_per_hour": slope})


def slope_of(values: list[float]) -> float:
    """Of the line of least squares through values at 0, 1, 2, ...; 0 for a single one."""
    return float(np.polyfit(np.arange(len(values)), values, 1)[0]) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
