"""How a batch is cut over processes and rounds."""

from __future__ import annotations

from musicgen_core.config.training import TrainingConfig


def micro_batch(training: TrainingConfig, num_processes: int) -> int:
    """Segments per process and forward pass."""
    return training.micro_batch_size or max(1, training.batch_size // num_processes)


def check_batch(training: TrainingConfig, num_processes: int, whose: str = "processes") -> None:
    """Raise ValueError, with the figures and the remedy, when the batch cannot be cut into equal parts."""
    micro = micro_batch(training, num_processes)
    if training.batch_size % (num_processes * micro):
        raise ValueError(
            f"training.batch_size {training.batch_size} is not a multiple of {num_processes * micro} = "
            f"{num_processes} {whose} x micro-batches of {micro}; change training.batch_size, "
            "training.micro_batch_size or the processes"
        )
