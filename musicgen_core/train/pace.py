"""How fast it goes, and how much of the time it waits for data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Speed:
    """Since the former report, without validations and checkpoints."""

    frames_per_sec: float
    """Frames of codes, over all processes."""

    data_wait_share: float
    """Share of the time spent waiting for the next batch, in [0, 1]."""

    steps_per_sec: float
    num_steps: int


class Pace:
    """A stopwatch for the loop. `seconds_before` is what earlier starts of this run took."""

    def __init__(self, seconds_before: float) -> None:
        self._before = seconds_before
        self._started = self._window = time.monotonic()
        self._waited = 0.0
        self._steps = self._window_steps = 0

    def next(self, batches: Iterator[T]) -> T:
        """Take the next batch: one step begins."""
        begun = time.monotonic()
        batch = next(batches)
        self._waited += time.monotonic() - begun
        self._steps += 1
        self._window_steps += 1
        return batch

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time in the block counts for the run, not for the speed of steps."""
        begun = time.monotonic()
        yield
        self._window += time.monotonic() - begun

    def report(self, frames_per_step: int) -> Speed:
        """Speed since the last report; starts the next window."""
        now = time.monotonic()
        elapsed = max(now - self._window, 1e-9)
        steps = self._window_steps
        speed = Speed(steps * frames_per_step / elapsed, self._waited / elapsed, steps / elapsed, steps)
        self._window, self._waited, self._window_steps = now, 0.0, 0
        return speed

    @property
    def seconds(self) -> float:
        """Of the whole run, over all starts."""
        return self._before + time.monotonic() - self._started

    def seconds_left(self, steps_left: int) -> float:
        return (time.monotonic() - self._started) / max(self._steps, 1) * steps_left
