"""Python goes on while the extension works: every call that takes time lets the interpreter go."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest

from musicgen_core import native

RATE_HZ = 44_100
PATTERN_KT = np.arange(1, 1501) + np.arange(4)[:, None]


@pytest.fixture
def ticks():
    """Number of turns that another thread has had. Nobody is made to hand over the interpreter: it must be let go."""
    interval = sys.getswitchinterval()
    counted = [0]
    stop = threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0)  # lets go, and asks again

    thread = threading.Thread(target=count)
    sys.setswitchinterval(1000)
    thread.start()
    yield counted
    stop.set()
    sys.setswitchinterval(interval)
    thread.join()


CALLS = [
    "decode",
    "decode_segment",
    "read_segment",
    "resample",
    "measure",
    "mix",
    "hash_file",
    "hash_bytes",
    "interleave",
]


@pytest.mark.parametrize("name", CALLS)
def test_other_threads_have_their_turn(name, encoded, ticks):
    path = encoded("mp3" if name in ("decode", "decode_segment", "read_segment") else "wav_s16")
    wav_CN = np.random.default_rng(0).standard_normal((2, 10 * RATE_HZ)).astype(np.float32) * 0.1
    codes_BKT = np.zeros((64, 4, 1500), np.uint16)
    calls = {
        "decode": lambda: native.decode(path),
        "decode_segment": lambda: native.decode_segment(path, 1000, 20_000),
        "read_segment": lambda: native.read_segment(path, 1000, 20_000, sample_rate_hz=32_000, num_channels=1),
        "resample": lambda: native.resample(wav_CN, RATE_HZ, 32_000),
        "measure": lambda: native.measure(wav_CN, RATE_HZ),
        "mix": lambda: native.mix(wav_CN, 1),
        "hash_file": lambda: native.hash_file(path),
        "hash_bytes": lambda: native.hash_bytes(bytes(10_000_000)),
        "interleave": lambda: native.interleave(codes_BKT, PATTERN_KT, 1504, 2048),
    }
    for _ in range(2000):
        before = ticks[0]
        calls[name]()
        if ticks[0] > before:
            return
    pytest.fail(f"native.{name} keeps the interpreter to itself")
