"""Two threads against one, and Python beside a native call: `python benchmarks/bench_threads.py`, on two idle cores.

Claims: two Python threads read at least 1.9 times as many segments as one, and cut as many more batches of tokens; a
Python thread that counts keeps at least 80 % of its pace while another one is inside a native call. As a scale: SHA-256
over a block that stays in a core's cache, which shares nothing. One thread and two take turns; prints medians.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import record
import torch
from bench_batches import CODEC, make_ours, write_corpus
from bench_native import RATE_HZ, SEGMENT_SEC, TARGET_HZ, TRACK_SEC, write_tracks

from musicgen_core import native
from musicgen_core.data.tracks import open_tracks


def read(path: Path, start: int) -> None:
    native.read_segment(path, start, TARGET_HZ * SEGMENT_SEC, sample_rate_hz=TARGET_HZ, num_channels=1)


def seconds_of(num_threads: int, work: Callable[[], None]) -> float:
    """Until the last of `num_threads` threads, which start together, has done `work`."""
    together = threading.Barrier(num_threads + 1)

    def run() -> None:
        together.wait()
        work()

    threads = [threading.Thread(target=run) for _ in range(num_threads)]
    for thread in threads:
        thread.start()
    together.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def speedup(work: Callable[[], None], rounds: int) -> float:
    """How much more often two threads do `work` in the same time than one."""
    work()
    ratios = []
    for _ in range(rounds):
        one, two = seconds_of(1, work), seconds_of(2, work)
        ratios.append(2 * one / two)
    return statistics.median(ratios)


def hash_block() -> Callable[[], None]:
    block = bytes(1 << 18)

    def work() -> None:
        for _ in range(200):
            hashlib.sha256(block)

    return work


def cut_batches(folder: Path) -> Callable[[], None]:
    """Batches of 32 segments, each thread into its own buffers."""
    write_corpus(folder)
    tracks = open_tracks([folder], [folder / "index.bin"], "train", CODEC)
    own = threading.local()

    def work() -> None:
        if not hasattr(own, "cut"):
            own.cut, _ = make_ours(tracks, torch.int64)
        for number in range(200):
            own.cut(number)

    return work


def counts_per_sec(seconds: float) -> float:
    """The pace of a loop that needs the interpreter at every turn."""
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        count += 1
    return count / (time.perf_counter() - started)


def pace_beside(work: Callable[[], object], rounds: int, seconds: float = 0.5) -> float:
    """Pace of counting while another thread repeats `work`, in parts of its pace alone."""
    ratios = []
    for _ in range(rounds):
        alone = counts_per_sec(seconds)
        stop = threading.Event()

        def run(stop: threading.Event = stop) -> None:
            while not stop.is_set():
                work()

        thread = threading.Thread(target=run)
        thread.start()
        ratios.append(counts_per_sec(seconds) / alone)
        stop.set()
        thread.join()
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    record.add_flag(parser)
    arguments = parser.parse_args()
    starts = np.random.default_rng(1).integers(0, TARGET_HZ * (TRACK_SEC - SEGMENT_SEC), 40)
    found: dict[str, dict[str, float]] = {"speedup_of_two_threads": {}, "pace_of_python_beside": {}}
    with tempfile.TemporaryDirectory() as folder:
        paths = write_tracks(Path(folder))
        wav_CN, _ = native.decode(paths["wav"])
        works: dict[str, Callable[[], None]] = {"sha256": hash_block(), "batches": cut_batches(Path(folder))}
        for name, path in paths.items():
            works[name] = lambda path=path: [read(path, int(start)) for start in starts]
        for name, work in works.items():
            found["speedup_of_two_threads"][name] = speedup(work, arguments.rounds)
        beside: dict[str, Callable[[], object]] = {
            f"read_segment {name}": lambda path=path: read(path, 0) for name, path in paths.items()
        }
        beside["decode mp3"] = lambda: native.decode(paths["mp3"])
        beside["resample"] = lambda: native.resample(wav_CN, RATE_HZ, TARGET_HZ)
        for name, work in beside.items():
            found["pace_of_python_beside"][name] = pace_beside(work, arguments.rounds)
    for claim, row in found.items():
        print(claim + ": " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in row.items()))
    record.write(arguments, "threads", {**found, "rounds": arguments.rounds})


if __name__ == "__main__":
    main()
