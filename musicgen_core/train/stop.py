"""Being asked to stop: a signal sets a flag, the loop reads it at the end of a step, all processes save together."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: not finished, try again."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Stopped(SystemExit):
    """Training ended early after saving; the process leaves with EXIT_CODE unless a launcher knows better."""

    def __init__(self, step: int, requeue: bool) -> None:
        super().__init__(EXIT_CODE)
        self.step = step
        self.requeue = requeue
        """SLURM is about to take the machine away (SIGUSR2): the job should be queued again."""


class StopSignals:
    """Within the block SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 only set flags; the former handlers come back after it."""

    def __init__(self) -> None:
        self.stop = False
        self.requeue = False
        self.save = False
        """Not a signal: the first process's clock asks for a checkpoint. All agree on it as on the others."""
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in SIGNALS:
            self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.stop = True
        self.requeue = self.requeue or number == signal.SIGUSR2
