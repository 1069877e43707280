"""Ctrl-C ends long calls at once. Measured in the process's own CPU time, so that a busy machine does not matter: each
call is first made on a twentieth of the work; the interrupted one must end before half of the work can be done."""

from __future__ import annotations

import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from .conftest import signal

HANG_SEC = 120

SCRIPT = """
import os, signal, sys, threading, time
import numpy as np
from musicgen_core import native
path, kind = sys.argv[1:]
twentieth, whole = {
    "decode": (lambda: native.decode_segment(path, 0, 44_100 * 30), lambda: native.decode(path)),
    "resample": tuple(
        lambda wav=np.zeros((1, n), np.float32): native.resample(wav, 8000, 768_000) for n in (200_000, 4_000_000)
    ),
    "measure": tuple(
        lambda wav=np.ones((1, n), np.float32): native.measure(wav, 32_000) for n in (1_000_000, 20_000_000)
    ),
    "segment": tuple(lambda n=n: native.decode_segment(path, 0, n) for n in (20_000_000, 400_000_000)),
    "read_segment": tuple(
        lambda n=n: native.read_segment(path, 0, n, sample_rate_hz=96_000, num_channels=1, preset="hq")
        for n in (15_000_000, 300_000_000)
    ),
    "hash_file": (lambda: native.hash_bytes(bytes(100_000_000)), lambda: native.hash_file(path)),
    "hash_files": (lambda: native.hash_bytes(bytes(100_000_000)), lambda: native.hash_files([path] * 3, 2)),
}[kind]
began = time.process_time()
twentieth()
share = max(time.process_time() - began, 0.1)
def interrupt():
    while time.process_time() < began + share:
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGINT)
began = time.process_time()
threading.Thread(target=interrupt, daemon=True).start()
try:
    whole()
except KeyboardInterrupt:
    print(share, time.process_time() - began)
"""


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    """Ten minutes, stereo."""
    path = tmp_path_factory.mktemp("long") / "long.flac"
    soundfile.write(path, np.tile(signal(441_000, 2), (1, 60)).T, 44_100)
    return path


@pytest.mark.parametrize(
    "kind", ["decode", "segment", "read_segment", "resample", "measure", "hash_file", "hash_files"]
)
def test_an_interrupted_call_ends_early(tmp_path, long_file, kind):
    path = long_file
    if kind.startswith("hash"):
        path = tmp_path / "sparse"
        with path.open("wb") as file:
            file.truncate(1 << 40)  # no machine hashes a tebibyte before the guard ends this
    if "segment" in kind:
        path = tmp_path / "sparse.wav"
        num_bytes = 400_000_000
        head = (
            b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + b"data" + struct.pack("<I", num_bytes)
        )
        with path.open("wb") as file:
            file.write(b"RIFF" + struct.pack("<I", num_bytes + 36) + head)
            file.truncate(44 + num_bytes)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), kind], capture_output=True, text=True, timeout=HANG_SEC
    )
    assert done.returncode == 0, done.stderr
    share, interrupted = map(float, done.stdout.split())
    assert interrupted < 10 * share
