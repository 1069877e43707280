"""The micro-batch that fits into memory: halved when the first steps do not fit, and remembered in the run's folder.

The global batch stays, so only the order of sums changes: a run that was halved equals, to the last bit, one that was
given the smaller micro-batch from the start. A process that has run out of memory has left its collectives half-way, so
the processes do not go on: they start again, each in its place, from the last checkpoint.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_core.util.atomic import write_json
from musicgen_core.util.log import say

if TYPE_CHECKING:
    import torch

    from musicgen_core.train.watch import Watch

FILE = "micro_batch.json"
FIRST_STEPS = 3
"""Of each start. What did not need more memory in these will not later: every step has the same shapes."""

STARTS = "MUSICGEN_STARTS"
"""Environment variable: how often this process has started again. torchrun's store and its keys outlive a start."""

EXIT_CODE = 76
"""Start me again: for a parent that started this process by `multiprocessing`."""


class NoMemoryError(ValueError):
    """A step that does not fit into memory; the message names what helps."""


class TooLargeError(RuntimeError):
    """A step that does not fit into memory although it could be cut smaller."""

    def __init__(self, step: int, micro_batch_size: int, smaller: int) -> None:
        super().__init__(f"step {step + 1} does not fit into memory with a micro-batch of {micro_batch_size}")
        self.smaller = smaller


@dataclass(frozen=True)
class Fit:
    """How a process cuts its share of the global batch."""

    run_dir: Path
    local_batch_size: int
    """Segments of each process in a step."""

    asked: int | None
    """training.micro_batch_size"""

    @property
    def micro_batch_size(self) -> int:
        """The config's, or what fitted before if that is smaller; it divides the share."""
        known = self._known()
        asked = self.asked or self.local_batch_size
        return asked if known is None else min(asked, self._divisor(known))

    def shrink(self, step: int, first_step: int, error: torch.OutOfMemoryError) -> Exception:
        """What to raise for this error in a step: TooLargeError in the first steps, else NoMemoryError."""
        now = self.micro_batch_size
        if step - first_step < FIRST_STEPS and now > 1:
            return TooLargeError(step, now, self._divisor(now // 2))
        reason = str(error).strip().splitlines()[0]
        if now > 1:
            remedy = f"set training.micro_batch_size below {now}: less memory, same result"
        else:
            remedy = (
                "even one segment at a time is too much: set training.activation_checkpointing, training.precision "
                "bf16, a shorter training.segment_sec or a smaller model.size, or shard over more GPUs"
            )
        return NoMemoryError(f"step {step + 1} ran out of memory ({reason}); {remedy}. The last checkpoint stays")

    def _known(self) -> int | None:
        try:
            return int(json.loads((self.run_dir / FILE).read_text(encoding="utf-8"))["micro_batch_size"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _divisor(self, most: int) -> int:
        return max(size for size in range(1, max(1, most) + 1) if self.local_batch_size % size == 0)


@contextmanager
def name_shortage(watch: Watch) -> Iterator[None]:
    """Within the block, make of an error that no step has caught one line: memory ran out in the set-up, a validation
    or a save. Raises NoMemoryError."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        beat = watch.beat(time.monotonic())
        reason = str(error).strip().splitlines()[0]
        raise NoMemoryError(
            f"out of memory at: {beat['phase']}, after {beat['step']} steps ({reason}); set training.micro_batch_size "
            "(a validation takes as many segments at a time), training.sharding full over more GPUs, or a smaller "
            "model.size. The last checkpoint stays: the same command resumes"
        ) from None


def remember(run_dir: Path, micro_batch_size: int, batch_size: int) -> None:
    """Write it down for this and every later start, and say so. The first process only."""
    say(
        f"train: out of memory in the first steps: training starts again with a micro-batch of {micro_batch_size} per "
        f"process; the global batch stays {batch_size}. It is kept in {run_dir / FILE}"
    )
    write_json(run_dir / FILE, {"micro_batch_size": micro_batch_size})


def start_again() -> None:
    """Run this process's command anew in its place; under `multiprocessing`, leave that to the parent."""
    sys.stdout.flush()
    if multiprocessing.parent_process() is not None:
        os._exit(EXIT_CODE)
    os.environ[STARTS] = str(int(os.environ.get(STARTS, "0")) + 1)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def free_memory() -> None:
    """Give back what a step that failed has left."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
