"""Reading ahead: a thread computes what will be asked for next, in order, and not too much of it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 2
"""Results kept ready, besides the one in work."""


class ReadAhead(Generic[T]):
    """Calls `read(n)` for the n that follow the one taken last, by `step`, in a thread of its own.

    The thread starts when something is taken. A process forked from this one has no thread; it starts its own. What
    `read` raises is raised by `take`, and asking again calls `read` again.
    """

    def __init__(self, read: Callable[[int], T], step: int) -> None:
        self._read, self._step = read, step
        self._thread: ThreadPoolExecutor | None = None
        self._ahead: deque[tuple[int, Future[T]]] = deque()
        self._pid = os.getpid()

    def take(self, n: int) -> T:
        """Return `read(n)`. Any n may be asked for; those that follow by `step` are ready sooner."""
        if os.getpid() != self._pid:  # the thread and what it was reading are the parent's
            self._thread, self._pid = None, os.getpid()
            self._ahead.clear()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")
        if not self._ahead or self._ahead[0][0] != n:
            self._drop()
        while len(self._ahead) <= DEPTH:
            following = n + len(self._ahead) * self._step
            self._ahead.append((following, self._thread.submit(self._read, following)))
        try:
            result = self._ahead[0][1].result()
        except BaseException:
            self._drop()
            raise
        self._ahead.popleft()
        return result

    def close(self) -> None:
        """Wait for the thread to end; what it has read is dropped. `take` starts a new one."""
        self._drop()
        if self._thread is not None and os.getpid() == self._pid:
            self._thread.shutdown()
        self._thread = None

    def _drop(self) -> None:
        for _, future in self._ahead:
            future.cancel()
        self._ahead.clear()
