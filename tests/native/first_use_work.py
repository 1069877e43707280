"""Run as a script by test_processes.py: forks while another thread makes the process's first use of the extension.

Arguments: an audio file. A hundred processes that have not used the extension yet each start a thread that does, and
fork at a moment of their own in the midst of it; what they fork must find what they find. Prints "same" if all do."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from musicgen_core import native

HANG_SEC = 20
NUM_PROCESSES = 100
LONGEST_WAIT_SEC = 0.002


def use(audio: str) -> str:
    whole_CN, _ = native.decode(audio)
    part_CN = native.read_segment(audio, 300, 900, sample_rate_hz=11_025, num_channels=1)
    return native.hash_bytes(whole_CN.tobytes() + part_CN.tobytes())


def ends_well(child: int) -> bool:
    return os.waitpid(child, 0)[1] == 0


def leave(found: str | None, expected: str) -> None:
    os._exit(0 if found == expected else 1)


def main(audio: str) -> None:
    signal.alarm(150)
    reading, writing = os.pipe()
    if (first := os.fork()) == 0:
        os.write(writing, use(audio).encode())
        os._exit(0)
    assert ends_well(first)
    expected = os.read(reading, 100).decode()
    good = 0
    for number in range(NUM_PROCESSES):
        if (process := os.fork()) == 0:
            signal.alarm(HANG_SEC)  # a child of fork inherits none
            found: list[str] = []
            thread = threading.Thread(target=lambda found=found: found.append(use(audio)))
            thread.start()
            time.sleep(LONGEST_WAIT_SEC * number / NUM_PROCESSES)
            if (child := os.fork()) == 0:
                signal.alarm(HANG_SEC // 2)
                leave(use(audio), expected)
            is_good = ends_well(child)
            thread.join()
            leave(found[0] if is_good else None, expected)
        good += ends_well(process)
    print("same" if good == NUM_PROCESSES else f"{good} of {NUM_PROCESSES} find the same")


if __name__ == "__main__":
    main(*sys.argv[1:])
