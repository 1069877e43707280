"""Who a process is, so that another one can ask later whether it still lives."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any


def describe_process() -> dict[str, Any]:
    """This process: host, number, start time, and when it said so."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": start_ticks(os.getpid()),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def is_alive(process: dict[str, Any]) -> bool | None:
    """Whether a process that described itself lives; None when it is on another machine, which cannot be asked."""
    if process.get("host") != socket.gethostname():
        return None
    return start_ticks(process["pid"]) == process["started"]


def start_ticks(pid: int) -> str | None:
    """Start time of a live process in clock ticks, so that a reused number is not taken for its owner; None if dead."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else rest[18]
