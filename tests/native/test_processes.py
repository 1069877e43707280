"""The extension in child processes (DataLoader workers), under signals, out of memory, and when it panics."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from musicgen_core import _rust_loader, native

from .conftest import make, signal
from .test_token_shards import CARD, CODEC, shard

HANG_SEC = 150  # a guard, not a measure
WORK = Path(__file__).with_name("process_work.py")
FIRST_USE = Path(__file__).with_name("first_use_work.py")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=HANG_SEC)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        *((method, "vorbis") for method in ("fork", "forkserver", "spawn")),
        *(("fork", name) for name in ("wav_s16", "flac_s16", "mp3_vbr", "m4a_aac_plain", "m4a_alac", "webm_vorbis")),
    ],
)
def test_children_find_what_the_parent_finds(tmp_path, method, name):
    audio = make(tmp_path, name, signal(20_000))
    native.write_token_index(tmp_path / "index.bin", [shard(tmp_path / "a.tar", range(5))], CODEC, CARD)
    done = run(str(WORK), method, str(audio), str(tmp_path / "index.bin"))
    assert (done.stdout.strip(), done.returncode) == ("same", 0), done.stderr


@pytest.mark.parametrize("name", ["wav_s16", "flac_s16", "mp3_vbr", "vorbis", "m4a_aac_plain", "m4a_alac", "mkv_flac"])
def test_a_fork_in_the_midst_of_the_first_use(tmp_path, name):
    """Nothing is left to be built then, which a child would wait for and nobody would finish."""
    done = run(str(FIRST_USE), str(make(tmp_path, name, signal(3_000))))
    assert (done.stdout.strip(), done.returncode) == ("same", 0), done.stderr


def test_a_panic_is_an_exception(capfd):
    with pytest.raises(RuntimeError, match=r"internal error: on purpose \(src/python/mod\.rs:\d+\); this is a bug"):
        _rust_loader.panic_for_tests()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("module", ["numpy", "numpy._core.multiarray", "numpy.linalg"])
def test_a_signal_while_numpy_is_imported(module):
    """The import is broken off by the handler's exception, not by a panic of rust-numpy."""
    script = f"""
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGTERM)
def leave(number, frame):
    sys.exit("terminated")
signal.signal(signal.SIGTERM, leave)
sys.meta_path.insert(0, Finder())
import musicgen_core._rust_loader
print("imported")
"""
    done = run("-c", script)
    assert (done.stdout, done.stderr, done.returncode) == ("", "terminated\n", 1)


def test_numpy_is_loaded_with_the_extension():
    """Nothing of numpy's is left to be loaded at the first array."""
    script = """
import sys
import musicgen_core._rust_loader as extension
before = set(sys.modules)
extension.uniform(1, 2, 3, __import__("numpy").zeros(4, "int64"), 5)
assert set(sys.modules) == before, set(sys.modules) - before
"""
    done = run("-c", script)
    assert done.returncode == 0, done.stderr


def test_memory_that_is_not_there(tmp_path):
    """1.2 GB of real (sparse) samples and 600 MB to decode them into: MemoryError, where Rust would abort."""
    path = tmp_path / "long.wav"
    num_bytes = 600_000_000
    head = b"WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data" + num_bytes.to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(b"RIFF" + (num_bytes + 36).to_bytes(4, "little") + head)
        file.truncate(44 + num_bytes)
    script = f"""
import resource
from musicgen_core import native
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 600_000_000,) * 2)
for call in (native.decode, lambda path: native.decode_segment(path, 5, 299_999_000)):
    try:
        call({str(path)!r})
    except MemoryError as error:
        print(error)
"""
    done = run("-c", script)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{path}: needs ") for line in lines)
