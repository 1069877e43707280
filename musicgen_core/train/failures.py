"""What each process of a SLURM job said when it failed, and which of them failed by itself.

A process that fails takes the others with it: they lose their connection in the middle of a collective, often sooner
than the first one's words reach a log. So each leaves a note, and the notes are put in order afterwards.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from musicgen_core.util.atomic import read_jsonl, write_jsonl

LOST_PEER = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Connection refused",
    "Broken pipe",
    "gloo/transport",
    "NCCL",
    "ProcessGroup",
    "Socket Timeout",
)
"""In the words of gloo, NCCL and torch's store when another process has gone."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    rank: int
    node: str
    restart: int
    """How often SLURM had queued the job again."""

    time_sec: float
    """By the clock of its node."""

    lost_peer: bool
    """It failed because it could not reach another process."""

    text: str
    """Its traceback, or its one line."""


def note_failure(folder: Path, job_id: str, restart: int, rank: int) -> Callable[[BaseException, str], None]:
    """What a process calls with its error before it leaves."""

    def note(error: BaseException, text: str) -> None:
        failure = Failure(
            rank=rank,
            node=os.environ.get("SLURMD_NODENAME", "?"),
            restart=restart,
            time_sec=time.time(),
            lost_peer=is_lost_peer(error),
            text=text,
        )
        write_jsonl(_path(folder, job_id, rank), [asdict(failure)])

    return note


def is_lost_peer(error: BaseException) -> bool:
    """Whether a collective failed because another process did."""
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"DistNetworkError", "DistStoreError", "DistBackendError"}:
        return True
    return isinstance(error, (RuntimeError, OSError)) and any(words in str(error) for words in LOST_PEER)


def read_failures(folder: Path, job_id: str) -> list[Failure]:
    """Failures of the job's last start: those that failed by themselves first, each kind in the order of time."""
    failures = [Failure(**read_jsonl(path)[0]) for path in folder.glob(f"{job_id}_*_failure.jsonl")]
    last = max((failure.restart for failure in failures), default=0)
    return sorted((f for f in failures if f.restart == last), key=lambda f: (f.lost_peer, f.time_sec, f.rank))


def _path(folder: Path, job_id: str, rank: int) -> Path:
    return folder / f"{job_id}_{rank}_failure.jsonl"
