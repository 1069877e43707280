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


def list_descendants(pid: int) -> list[tuple[int, list[str]]]:
    """Living processes below `pid`: number and command line."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found, below = [], {pid}
    while below:
        below = {child for child, parent in parents.items() if parent in below}
        for child in sorted(below):
            try:
                words = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            found.append((child, words))
    return found
