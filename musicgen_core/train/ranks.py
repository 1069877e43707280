"""The processes of a run: who am I, how many are we, and the few things that all do together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from musicgen_core.train.fit import STARTS
from musicgen_core.train.watch import Watch

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""Longest wait in one collective: while the first process checks a large checkpoint, the others wait."""


class Refused(ValueError):
    """A run that may not start, said in one line that names the remedy."""


@dataclass(frozen=True)
class World:
    """All processes of a run, seen from one of them. With one process every method is free."""

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh | None
    """None with one process."""

    watch: Watch = field(default_factory=Watch)
    """Told how far this process is; connected only among several."""

    group: dist.ProcessGroup | None = None
    """None: the default one."""

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum over processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor, group=self.group)
        return tensor

    def gather(self, value: T) -> list[T]:
        """The picklable value of every process, in the order of ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.group)
        return values

    def on_first(self, function: Callable[[], T]) -> T:
        """Run on the first process and give its result to all.

        When it raises, the first process raises that error and the others leave with exit code 1, silently: one error,
        said once.
        """
        if self.size == 1:
            return function()
        box: list[Any] = [None, True]
        try:
            if self.first:
                box = [function(), False]
        finally:
            dist.broadcast_object_list(box, src=0, group=self.group)
        if box[1]:
            raise SystemExit(1)
        return box[0]

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier(group=self.group)


@contextmanager
def open_world(device: str, num_threads: int, watch: Watch | None = None) -> Iterator[World]:
    """Join the processes that RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT describe, if these are set.

    `device` is auto, cpu or cuda; gloo serves the CPU and NCCL the GPUs. Raises Refused when there is no GPU for cuda.
    """
    torch.set_num_threads(num_threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise Refused("training.device is cuda, but torch sees no GPU here; set it to auto or cpu")
    kind = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = torch.device("cpu")
    if kind == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(chosen)
    if size == 1:
        yield World(0, 1, chosen, None, watch or Watch())
        return
    store, rank, _ = next(dist.rendezvous("env://", timeout=TIMEOUT))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo",
        store=dist.PrefixStore(os.environ.get(STARTS, "0"), store),
        rank=rank,
        world_size=size,
        timeout=TIMEOUT,
    )
    yield World(rank, size, chosen, init_device_mesh(kind, (size,)), watch or Watch())
    # Only after success: to tear a group down whose members have failed may wait for them forever.
    dist.destroy_process_group()
