"""What loaders of numbered batches have in common: shares, turns and state, whatever a batch is made of.

The samples of a run are numbered, and a global batch is `batch_size` of them: batch and order follow from the number of
its first sample alone, for any number of processes, workers and threads.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch.utils.data import IterableDataset, get_worker_info

from musicgen_core.data.ahead import ReadAhead


class Numbered(Protocol):
    @property
    def next_sample(self) -> int: ...


B = TypeVar("B", bound=Numbered, covariant=True)


class BatchDataset(IterableDataset[B]):
    """This process's share of each global batch, for a loop, for `BatchLoader` (worker processes) or for `BatchesAhead`
    (a thread). `num_batches` ends a pass, None never; the next pass goes on after the batch handed out last.

    Workers of a DataLoader take turns, batch by batch, so that it gives the same batches in the same order for any
    number of them. Which of the batches that they read ahead was used last they do not know: a second pass over a plain
    `DataLoader(dataset, batch_size=None)` with workers is refused until `seek` has said it. `BatchLoader` does that.

    Raises ValueError when batch_size does not divide by world_size.
    """

    def __init__(self, batch_size: int, num_batches: int | None, rank: int, world_size: int) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise ValueError(f"a batch of {batch_size} segments does not divide over {world_size} processes")
        self.batch_size, self.num_batches = batch_size, num_batches
        share = batch_size // world_size
        self._share = slice(rank * share, (rank + 1) * share)
        # int64 [3], seen by all workers: next sample; how often `seek` was called; that number at the last pass of
        # workers.
        self._place = torch.zeros(3, dtype=torch.int64).share_memory_()
        self.seek(0)

    @abstractmethod
    def read(self, first_sample: int) -> B:
        """Draw the global batch that starts at this sample, and read this process's share of it."""

    def __iter__(self) -> Iterator[B]:
        worker = get_worker_info()
        turn, num_turns = (0, 1) if worker is None else (worker.id, worker.num_workers)
        if worker is not None:
            self._begin_pass(worker.id)
        first = int(self._place[0]) + turn * self.batch_size
        number = turn
        while self.num_batches is None or number < self.num_batches:
            batch = self.read(first)
            if worker is None:
                self._place[0] = batch.next_sample
            yield batch
            first += num_turns * self.batch_size
            number += num_turns

    def _begin_pass(self, worker_id: int) -> None:
        """Of all workers the first looks: its batch is the first that is asked for."""
        if worker_id > 0:
            return
        if self._place[1] == self._place[2]:
            raise ValueError(
                "a second pass over a DataLoader with workers, which do not know the batch that was used last; use "
                "musicgen_core.data.batches.BatchLoader, or call dataset.seek(batch.next_sample) before each pass"
            )
        self._place[2] = self._place[1]

    def seek(self, next_sample: int) -> None:
        """Begin the next pass with the batch that starts at this sample: `next_sample` of the batch used last."""
        self._place[0] = next_sample
        self._place[1] += 1

    def state_dict(self) -> dict[str, int]:
        """Where a plain loop over the dataset is. With workers, ask `BatchLoader`, or the batch used last."""
        return {"next_sample": int(self._place[0])}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.seek(state["next_sample"])

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._place.share_memory_()


class BatchesAhead(Generic[B]):
    """Endless iterator over a dataset's batches, read ahead in a thread, in order.

    `then` is applied to each batch in that thread. The state counts batches handed out, not batches read ahead. Safe
    after fork.
    """

    def __init__(self, dataset: BatchDataset[B], then: Callable[[B], B] | None = None) -> None:
        read = dataset.read if then is None else lambda first_sample: then(dataset.read(first_sample))
        self._ahead = ReadAhead(read, step=dataset.batch_size)
        self._next_sample = dataset.state_dict()["next_sample"]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> B:
        batch = self._ahead.take(self._next_sample)
        self._next_sample = batch.next_sample
        return batch

    def state_dict(self) -> dict[str, int]:
        return {"next_sample": self._next_sample}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._next_sample = state["next_sample"]

    def close(self) -> None:
        self._ahead.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
