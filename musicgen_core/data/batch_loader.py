"""Batches by worker processes, pass after pass, in the order that a loop without workers gives.

loader = BatchLoader(dataset, num_workers=2)         # of a TokenDataset or an AudioSegments
for epoch in range(3):
    for batch in loader:                             # dataset.num_batches, or leave it when you like
        ...
loader.load_state_dict(state)                        # what loader.state_dict() said: goes on after that batch
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from torch.utils.data import DataLoader

from musicgen_core.data.batch_dataset import BatchDataset, Numbered

B = TypeVar("B", bound=Numbered)


class BatchLoader(Generic[B]):
    """A torch DataLoader that knows which batch was used last, which neither its workers nor the dataset can.

    Each pass begins after the batch that was handed out last, also when the pass before was left in the middle, and is
    `dataset.num_batches` long. The batches and their order are the same for any number of workers, kept for the next
    pass (`persistent_workers`) or not, forked or spawned. `options` are those of DataLoader, but for batch_size: a
    batch is made by one worker.

    Raises ValueError for options that DataLoader refuses.
    """

    def __init__(self, dataset: BatchDataset[B], num_workers: int = 0, **options: Any) -> None:
        self._dataset = dataset
        self._loader: DataLoader[B] = DataLoader(dataset, batch_size=None, num_workers=num_workers, **options)
        self._next_sample = dataset.state_dict()["next_sample"]

    def __iter__(self) -> Iterator[B]:
        self._dataset.seek(self._next_sample)
        for batch in self._loader:
            self._next_sample = batch.next_sample
            yield batch

    def state_dict(self) -> dict[str, int]:
        """After the batch that was handed out last, however many the workers have read ahead."""
        return {"next_sample": self._next_sample}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next pass there."""
        self._next_sample = state["next_sample"]
