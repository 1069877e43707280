"""A process that trains alone watches over itself: one that makes no progress says at what, and ends.

Among several processes the hub does that (watch.py). A thread can do it as long as whatever hangs has released Python's
lock, as reading tokens, torch's operators and every system call do.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from musicgen_core.train.hub import BEAT_SEC, FROZEN_SEC, limit, name_limit
from musicgen_core.train.watch import BUSY_SHARE, OURS, Watch, end, format_stack, used_sec


@contextmanager
def limit_stalls(watch: Watch, limit_sec: float, waits: Mapping[str, str], on_cpu: bool) -> Iterator[None]:
    """Within the block, end this process once `watch` has had no mark for `limit_sec`; before the first step, for the
    longer limit of hub.py.

    `waits` says for a phase what it waits for. A process that was suspended (SIGSTOP) gets the time anew. One that
    computes on the CPU (`on_cpu`), or in its set-up, may take any time for a step as long as it does compute.
    """
    over, main = threading.Event(), threading.get_ident()

    def follow() -> None:
        turned, count, used = time.monotonic(), 0, 0.0
        while not over.wait(BEAT_SEC):
            now = time.monotonic()
            if now - turned > FROZEN_SEC:
                watch.touch()
            turned = now
            beat = watch.beat(now)
            if beat["count"] != count:
                count, used = beat["count"], used_sec()
            set_up = beat["set_up"]
            busy = (on_cpu or set_up) and used_sec() - used > BUSY_SHARE * beat["idle_sec"]
            if beat["idle_sec"] > limit(limit_sec, set_up) and not busy:
                done = "" if set_up else f"{beat['step']} steps were finished, and "
                place = beat["phase"] if set_up else f"{beat['phase']}, {waits.get(beat['phase'], 'computing')}"
                end(
                    f"train: error: no progress for {name_limit(limit_sec, set_up)}; {done}it was at: {place}. The "
                    f"last checkpoint stays: run the same command to resume. Stacks:\n{_stacks(main)}"
                )

    thread = threading.Thread(target=follow, name="stall", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _stacks(main: int) -> str:
    """Of the training thread, and of those that run our code beside it: reading ahead, writing a checkpoint."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    found = []
    for ident, frame in sys._current_frames().items():
        stack = format_stack(frame)
        if ident == main or (OURS in stack and ident != threading.get_ident()):
            found.append((ident != main, f"  {names.get(ident, '?')}:\n{stack}"))
    return "".join(text for _, text in sorted(found))
