"""Real process groups over gloo, without importing torch anew for each process."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["musicgen_core.train.loop", "torch.utils.tensorboard"])


def start_ranks(
    size: int, function: Callable[..., None], arguments: tuple[Any, ...], log: Path, per_node: int | None = None
) -> list[Any]:
    """Start processes that call function(*arguments) as ranks of one world; standard error goes to `log`.RANK."""
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    processes = []
    for rank in range(size):
        variables = {
            "RANK": rank,
            "WORLD_SIZE": size,
            "LOCAL_RANK": rank % (per_node or size),
            "MASTER_ADDR": "localhost",
        }
        variables |= {"MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        process = CONTEXT.Process(target=_enter, args=(variables, f"{log}.{rank}", function, arguments))
        process.start()
        processes.append(process)
    return processes


def run_ranks(
    size: int,
    function: Callable[..., None],
    arguments: tuple[Any, ...],
    log: Path,
    per_node: int | None = None,
    limit_sec: float = 120,
) -> list[int]:
    """Start, wait, and return the exit codes; what has not ended after `limit_sec` is killed."""
    processes = start_ranks(size, function, arguments, log, per_node)
    deadline = time.monotonic() + limit_sec
    for process in processes:
        process.join(max(0.1, deadline - time.monotonic()))
        if process.exitcode is None:
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


def _enter(variables: dict[str, Any], log: str, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ.update({name: str(value) for name, value in variables.items()})
    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 2)
    function(*arguments)
