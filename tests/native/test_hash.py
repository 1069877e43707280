"""Digests against BLAKE3's published vectors."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from musicgen_core import native

# BLAKE3 test_vectors.json: input of n bytes 0, 1, ... 250, 0, 1, ...
VECTORS = {
    0: "af1349b9f5f9a1a6a0404dea36dcc949",
    1: "2d3adedff11b61f14c886e35afa03673",
    1024: "42214739f095a406f3fc83deb889744a",
    102400: "bc3e3d41a1146b069abffad3c0d44860",
}


@pytest.mark.parametrize("length", VECTORS)
def test_known_vectors(tmp_path, length):
    data = bytes(i % 251 for i in range(length))
    (tmp_path / "x").write_bytes(data)
    assert native.hash_bytes(data) == VECTORS[length]
    assert native.hash_file(tmp_path / "x") == VECTORS[length]


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_many_files_in_order(tmp_path, num_threads):
    paths = [tmp_path / f"{i}" for i in range(150)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * i)
    paths[70].unlink()
    digests = native.hash_files(paths, num_threads)
    assert [digest for digest, _ in digests[:70]] == [native.hash_bytes(bytes([i]) * i) for i in range(70)]
    assert digests[70][0] is None
    assert "70: No such file" in digests[70][1]
    assert digests[149] == (native.hash_bytes(bytes([149]) * 149), None)
    assert native.hash_files([]) == []


PIPES = """
import os, sys, threading
from musicgen_core import native
first, second = sys.argv[1:]

def write_the_second_first():
    for path in (second, first):  # opening a pipe waits for its reader
        with open(path, "wb") as pipe:
            pipe.write(b"music")

threading.Thread(target=write_the_second_first, daemon=True).start()
assert native.hash_files([first, second], 2) == [(native.hash_bytes(b"music"), None)] * 2
"""


def test_files_are_read_at_the_same_time(tmp_path):
    """One after the other, the first pipe would be waited for while its writer waits for a reader of the second."""
    paths = [str(tmp_path / name) for name in ("first", "second")]
    for path in paths:
        os.mkfifo(path)
    subprocess.run([sys.executable, "-c", PIPES, *paths], check=True, timeout=120)
