"""Each process watches over the others: when one fails, stalls or dies, all end within seconds and say which it was.

The training thread marks its progress; a thread of its own tells the hub (hub.py), which runs in the first process,
and ends this process when the hub says so, wherever the training thread hangs.
"""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from musicgen_core.train.hub import ACKNOWLEDGE_SEC, BEAT_SEC, FROZEN_SEC, Hub, Lines, limit
from musicgen_core.util.log import say

WAIT_FOR_VERDICT_SEC = 5.0
"""An error out of a collective is mostly another process's end: what that one has to say comes first."""

BUSY_SHARE = 0.01
"""Of the time since the last mark. A process that has spent so much of it on a processor, or whose compilers have, is
slow; one that hangs spends none, but for this watch and the reading ahead of a batch or two."""

DISTRIBUTED = os.path.join("torch", "distributed", "")
OURS = os.path.join("musicgen_core", "")


class Watch:
    """One process's part. Not connected, as with one process, it only remembers the marks (stall.py looks at them)."""

    def __init__(self) -> None:
        self.rank = 0
        self.start_again: Callable[[int], None] = _cannot_start_again
        """What to do when a process is short of memory: start again with this micro-batch. Does not return."""
        self._count = self._step = 0
        self._phase, self._set_up = "set-up", True
        self._since, self._used = time.monotonic(), used_sec()
        self._main = threading.get_ident()
        self._lines: Lines | None = None
        self._hub: Hub | None = None
        self._leaving = False
        self._heard_out = threading.Event()

    def connect(
        self,
        rank: int,
        limit_sec: float,
        on_first: Callable[[Callable[[], Any]], Any],
    ) -> None:
        """Meet the other processes; `on_first` is World's. A collective call.

        Raises OSError when the first process cannot be reached."""
        self.rank, self._limit_sec = rank, limit_sec
        host = os.environ.get("MASTER_ADDR", "localhost")
        if rank == 0:
            here = host in ("localhost", "127.0.0.1")
            self._hub = Hub("localhost" if here else "", secrets.token_hex(8), limit_sec)
            self._hub.start()
        hub = self._hub
        port, token = on_first(lambda: (hub.port, hub.token) if hub else None)
        connection = socket.create_connection((host, port), timeout=30)
        connection.settimeout(None)
        self._lines = Lines(connection)
        self._lines.send({"kind": "hello", "rank": rank, "token": token})
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)
        self._thread.start()

    def mark(self, phase: str, step: int | None = None) -> None:
        """The training thread has come this far, with `step` steps finished; every process makes the same marks."""
        self._phase, self._since, self._set_up = phase, time.monotonic(), False
        self._step = self._step if step is None else step
        self._count += 1

    def prepare(self, what: str) -> None:
        """The same before the first step: it begins with this part of the set-up."""
        self._phase, self._since, self._used = f"set-up, {what}", time.monotonic(), used_sec()
        self._count += 1

    def touch(self) -> None:
        """The training thread waits for something that goes on."""
        self._since = time.monotonic()

    def beat(self, now: float) -> dict[str, Any]:
        """How far the training thread is: `count` marks, `step` steps finished, at `phase` for `idle_sec`; `busy`: it
        works at its set-up, which may take any time then."""
        return {
            "kind": "beat",
            "count": self._count,
            "step": self._step,
            "phase": self._phase,
            "set_up": self._set_up,
            "idle_sec": now - self._since,
            "busy": self._set_up and used_sec() - self._used > BUSY_SHARE * (now - self._since),
            "waiting": is_in_collective(sys._current_frames().get(self._main)),
        }

    def fail(self, line: str, quiet: bool = False) -> None:
        """Tell the others that this process ends and has said why; return when they know. `quiet`: say nothing more."""
        self._report({"kind": "failed", "line": line, "quiet": quiet})

    def out_of_memory(self, micro_batch_size: int) -> None:
        """Make all processes start again with this micro-batch. Does not return."""
        self._report({"kind": "memory", "micro_batch_size": micro_batch_size})
        self.start_again(micro_batch_size)

    def wait_for_verdict(self, error: BaseException) -> None:
        """After an error out of a collective: end here, in the watching thread, if another process is the cause."""
        if self._lines is not None and is_in_collective(_innermost(error.__traceback__)):
            time.sleep(WAIT_FOR_VERDICT_SEC)

    def close(self) -> None:
        """This process ends well."""
        if self._lines is None:
            return
        self._leaving = True
        self._lines.send({"kind": "bye"})
        if self._hub is not None:
            self._hub.close()

    def _report(self, message: dict[str, Any]) -> None:
        if self._lines is not None:
            self._leaving = True
            self._lines.send(message)
            self._heard_out.wait(2 * ACKNOWLEDGE_SEC)

    def _follow(self) -> None:
        assert self._lines is not None
        selector = selectors.DefaultSelector()
        selector.register(self._lines.connection, selectors.EVENT_READ)
        turned = heard = time.monotonic()
        while True:
            ready = selector.select(BEAT_SEC)
            now = time.monotonic()
            if now - turned > FROZEN_SEC:  # this process was stopped and goes on: so was its training thread
                heard = self._since = now
            turned = now
            self._lines.send(self.beat(now))
            for message in self._lines.receive() if ready else []:
                heard = now
                if message["kind"] == "over":
                    self._lines.connection.close()
                    return
                if message["kind"] != "beat":
                    self._obey(message)
            if self._leaving and (self._heard_out.is_set() or not self._lines.open):
                return
            if not self._lines.open:
                end(f"train: process {self.rank} ends: process 0 is gone")
            limit_sec = limit(self._limit_sec, self._set_up)
            if now - heard > limit_sec + ACKNOWLEDGE_SEC and not self._leaving:
                end(f"train: process {self.rank} ends: process 0 has given no sign of life for {limit_sec:g} s")

    def _obey(self, verdict: dict[str, Any]) -> None:
        assert self._lines is not None
        mine = self.rank in verdict.get("ranks", [verdict["rank"]])
        if verdict["kind"] in ("stalled", "speak") and mine and not self._heard_out.is_set():
            stack = format_stack(sys._current_frames().get(self._main))
            say(f"train: process {self.rank} stalls: {verdict['line']}. Its stack:\n{stack}")
            self._heard_out.set()
        elif not mine and verdict["kind"] != "memory" and not verdict.get("quiet"):
            say(f"train: process {self.rank} ends: {verdict['line']}")
        self._lines.send({"kind": "ack"})
        if verdict["kind"] == "speak":
            return
        if verdict["kind"] == "memory":
            self.start_again(verdict["micro_batch_size"])
        if mine and verdict["kind"] == "failed":
            self._heard_out.set()  # it ends by itself
            return
        end("")


def format_stack(frame: FrameType | None) -> str:
    """Calls, the innermost last, as a traceback shows them but for the source: a disk that hangs may hold that too."""
    lines: list[str] = []
    while frame is not None:
        code = frame.f_code
        lines.append(f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}\n')
        frame = frame.f_back
    return "".join(reversed(lines))


def used_sec() -> float:
    """Of processors, by this process and by those of its children that have ended."""
    return sum(os.times()[:4])


def is_in_collective(frame: FrameType | None) -> bool:
    """Whether this stack, from its innermost frame up to our own code, is at work inside torch.distributed."""
    while frame is not None:
        name = frame.f_code.co_filename
        if DISTRIBUTED in name:
            return True
        if OURS in name:
            return False
        frame = frame.f_back
    return False


def _cannot_start_again(micro_batch_size: int) -> None:
    raise AssertionError("out of memory before there was a run")


def _innermost(trace: TracebackType | None) -> FrameType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame if trace else None


def end(line: str) -> None:
    """End at once: an orderly end would wait for the others."""
    if line:
        say(line)
    sys.stdout.flush()
    os._exit(1)
