"""The extension as a Python module: documented, friendly to other threads, and it can be interrupted. (`make lint`
checks its stub.)"""

from __future__ import annotations

import inspect
import os
import signal as signals
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_core import native

from .conftest import signal

ROOT = Path(__file__).parents[2]


def test_everything_public_is_documented():
    public = {name: thing for name, thing in vars(native).items() if not name.startswith("_")}
    ours = {
        name: thing for name, thing in public.items() if getattr(thing, "__module__", "").startswith(native.__name__)
    }
    assert {"decode", "TokenShards", "CorruptAudioError", "AudioInfo", "TokenSampler"} <= set(ours)
    for name, thing in ours.items():
        assert inspect.getdoc(thing), name


@pytest.fixture
def long_file(tmp_path):
    path = tmp_path / "long.flac"
    wav = np.tile(signal(441_000, 2), (1, 60))
    soundfile.write(path, wav.T, 44_100)
    return path


def test_other_threads_run_meanwhile(long_file):
    """A counting thread must advance during a decode of seconds, which it could not under the GIL."""
    ticks = 0
    stop = threading.Event()

    def count():
        nonlocal ticks
        while not stop.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    started = time.perf_counter()
    native.decode(long_file)
    elapsed = time.perf_counter() - started
    stop.set()
    thread.join()
    assert ticks > 20 * elapsed


def test_ctrl_c_returns_at_once(long_file):
    script = f"from musicgen_core import native\nprint('go', flush=True)\nwhile True: native.decode({str(long_file)!r})"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.5)
        os.kill(child.pid, signals.SIGINT)
        _, errors = child.communicate(timeout=20)
    assert b"KeyboardInterrupt" in errors
