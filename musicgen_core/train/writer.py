"""Writing beside training: state is copied to CPU memory, and a thread brings the copy to the disk.

Copying is all that training waits for, and for the former write of the same kind, whose copy it reuses. The thread's
collectives run over a process group of its own (gloo, also beside NCCL), so that they never meet those of training:
the way of torch.distributed.checkpoint.async_save (https://docs.pytorch.org/docs/stable/distributed.checkpoint.html),
with the manifest and the renaming in the same thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from musicgen_core.train.ranks import TIMEOUT, World

Write = Callable[[dict[str, Any], World], None]


class BackgroundWriter:
    """One write after the other, in the order of `submit`. Every method is called by all processes together."""

    def __init__(self, world: World) -> None:
        group: Any = dist.new_group(backend="gloo", timeout=TIMEOUT) if world.size > 1 else None
        self._main = world
        self._world = replace(world, group=group, device=torch.device("cpu"))
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._stagers: dict[str, DefaultStager] = {}
        self._pending: dict[str, Future[None]] = {}
        self.stall_sec = self._taken_sec = 0.0
        """How long training has waited, in all."""

    def submit(self, kind: str, state: dict[str, Any], write: Write) -> None:
        """Copy `state`, then have `write(copy, world)` called in the thread. Raises what the former write raised."""
        with self._stalled():
            self._wait([kind])
            staged = self._stager(kind).stage(state)
            assert isinstance(staged, dict)
            self._pending[kind] = self._thread.submit(write, staged, self._world)

    def take_stall_sec(self) -> float:
        """How long training has waited since the last call."""
        taken, self._taken_sec = self._taken_sec, self.stall_sec
        return self.stall_sec - taken

    def check(self) -> None:
        """Raise what a write has raised that has ended since."""
        self._wait([kind for kind, future in self._pending.items() if future.done()])

    def finish(self) -> None:
        """Wait for all writes; raise what one of them raised."""
        with self._stalled():
            self._wait(list(self._pending))

    def close(self) -> None:
        """Let what has begun come to its end; its errors have been raised, or something worse has."""
        self._thread.shutdown(wait=True)
        for stager in self._stagers.values():
            stager.close()

    def _wait(self, kinds: list[str]) -> None:
        for kind in kinds:
            future = self._pending.get(kind)
            while future is not None and wait([future], timeout=1.0).not_done:
                self._main.watch.touch()
            if future is not None:
                del self._pending[kind]
                future.result()

    def _stager(self, kind: str) -> DefaultStager:
        """One for each kind: it owns the memory of the copy, page-locked beside a GPU."""
        if kind not in self._stagers:
            pinned = self._main.device.type == "cuda"
            self._stagers[kind] = DefaultStager(
                StagingOptions(
                    use_pinned_memory=pinned,
                    use_shared_memory=False,
                    use_async_staging=False,
                    use_non_blocking_copy=pinned,
                )
            )
        return self._stagers[kind]

    @contextmanager
    def _stalled(self) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.stall_sec += time.monotonic() - begun
