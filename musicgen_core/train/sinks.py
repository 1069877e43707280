"""Where curves go besides history.jsonl, which is the record: each sink can be made anew from it.

A sink shows every line of the history once, also after a run has resumed at an older step.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from musicgen_core.util.log import say


class Sink(Protocol):
    """Something that draws curves."""

    def add(self, line: dict[str, Any]) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class TensorBoardSink:
    """`tensorboard --logdir results/runs`. A resumed run hides what an earlier start wrote beyond its step."""

    def __init__(self, run_dir: Path, step: int, lines: Sequence[dict[str, Any]]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run_dir / "tensorboard"
        is_new = not any(folder.glob("events.*"))
        self._board = SummaryWriter(folder, purge_step=step + 1)
        for line in lines if is_new else []:
            self.add(line)

    def add(self, line: dict[str, Any]) -> None:
        for name, value in scalars(line):
            self._board.add_scalar(name, value, line["step"])

    def sync(self) -> None:
        self._board.flush()

    def close(self) -> None:
        self._board.close()


class WandbSink:
    """An offline run of Weights & Biases under RUN/wandb; nothing is sent. `wandb sync` sends it, under the same id.

    Offline files cannot be cut back, so each start writes them anew from the history.
    """

    def __init__(self, run_dir: Path, step: int, lines: Sequence[dict[str, Any]]) -> None:
        os.environ["WANDB_ERROR_REPORTING"] = "false"  # else it reports its own crashes over the network
        import wandb

        shutil.rmtree(run_dir / "wandb", ignore_errors=True)
        self._run = wandb.init(
            mode="offline",
            project="musicgen",
            id=run_dir.name,
            name=run_dir.name,
            dir=run_dir,
            settings=wandb.Settings(
                console="off",
                disable_git=True,
                disable_code=True,
                silent=True,
                x_disable_stats=True,
                x_disable_meta=True,
            ),
        )
        for line in lines:
            self.add(line)

    def add(self, line: dict[str, Any]) -> None:
        self._run.log(dict(scalars(line)), step=line["step"])

    def sync(self) -> None:
        """Its own process writes; what a kill loses comes back from the history."""

    def close(self) -> None:
        self._run.finish()


SINKS: dict[str, Callable[[Path, int, Sequence[dict[str, Any]]], Sink]] = {
    "tensorboard": TensorBoardSink,
    "wandb": WandbSink,
}
REMEDIES = {"tensorboard": "install tensorboard", "wandb": "install the extra `track` (pip install wandb)"}


def open_sinks(names: Sequence[str], run_dir: Path, step: int, lines: Sequence[dict[str, Any]]) -> list[Sink]:
    """Sinks that have shown `lines`, all up to `step`. One whose package is missing is left out, with a line."""
    sinks: list[Sink] = []
    for name in names:
        try:
            sinks.append(SINKS[name](run_dir, step, lines))
        except ImportError as error:
            say(
                f"train: no curves for {name}: {error}; {REMEDIES[name]}, or take it out of upkeep.sinks. "
                "history.jsonl has them all, and the next start shows them"
            )
    return sinks


def scalars(line: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Names and numbers of a line of the history, such as train/loss_codebook_0."""
    for name, value in line.items():
        if name == "loss_per_codebook":
            for k, loss in enumerate(value):
                yield f"{line['kind']}/loss_codebook_{k}", loss
        elif isinstance(value, float):
            yield f"{line['kind']}/{name}", value
