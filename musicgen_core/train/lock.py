"""One trainer per run directory."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musicgen_core.train.fit import STARTS
from musicgen_core.train.ranks import Refused, World
from musicgen_core.util.log import say


@contextmanager
def run_lock(run_dir: Path, world: World) -> Iterator[None]:
    """The first process holds `run_dir/LOCK`, created with O_EXCL and naming host, process and SLURM job.

    A lock whose process or job is gone is taken over, with a line that says so. Raises Refused when the owner lives, or
    when it is on another machine and cannot be asked. A collective call.
    """
    path, mine = run_dir / "LOCK", _describe_self()

    def take() -> None:
        with guard(run_dir):
            _take(path, mine)

    world.on_first(take)
    try:
        yield
    finally:
        if world.first:
            with guard(run_dir):
                if _read(path) == mine:
                    path.unlink()


@contextmanager
def guard(run_dir: Path) -> Iterator[None]:
    """Hold a short advisory lock, so that two processes never judge and replace one file at the same moment."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(run_dir / ".guard", "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def is_queued(job_id: str) -> bool | None:
    """Whether SLURM still has this job, waiting or running; None when SLURM cannot be asked at the moment."""
    if shutil.which("squeue") is None:
        return None
    shown = subprocess.run(
        ["squeue", "--noheader", "--format=%T", "--jobs", job_id], capture_output=True, text=True, check=False
    )
    if shown.returncode:
        return False if "Invalid job id" in shown.stderr else None
    ended = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"}
    return any(state not in ended for state in shown.stdout.split())


def _take(path: Path, mine: dict[str, Any]) -> None:
    while True:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            owner = _read(path)
            _refuse_if_alive(owner, mine, path)
            say(f"train: took over the lock of {_name(owner)}, which is gone")
            path.unlink(missing_ok=True)
            continue
        with open(descriptor, "w", encoding="utf-8") as handle:
            handle.write(json.dumps(mine))
        return


def _refuse_if_alive(owner: dict[str, Any], mine: dict[str, Any], path: Path) -> None:
    if owner.get("job_id") and owner["job_id"] == mine["job_id"]:
        return  # the same job after a requeue
    same = all(owner.get(key) == mine[key] for key in ("host", "pid", "started"))
    if same and owner.get("starts") != mine["starts"]:
        return  # this very process, which has started again in its place
    alive: bool | None
    if owner.get("job_id"):
        alive = is_queued(owner["job_id"])
    elif owner.get("host") == mine["host"]:
        alive = _started(owner["pid"]) == owner["started"]
    else:
        alive = None if owner else False
    if alive:
        raise Refused(f"{path.parent} is being trained by {_name(owner)}; wait for it, or stop it")
    if alive is None:
        raise Refused(
            f"{path.parent} is locked by {_name(owner)}, which cannot be asked from {mine['host']}; "
            f"if it is gone, delete {path}"
        )


def _describe_self() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "starts": os.environ.get(STARTS, "0"),
        "job_id": os.environ.get("SLURM_JOB_ID"),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _started(pid: int) -> str | None:
    """Start time of a live process in clock ticks, so that a reused number is not taken for its owner; None if dead."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else rest[18]


def _read(path: Path) -> dict[str, Any]:
    """What the lock says; nothing when its writer died before it wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _name(owner: dict[str, Any]) -> str:
    job = f"SLURM job {owner['job_id']}, " if owner.get("job_id") else ""
    return f"{job}process {owner.get('pid', '?')} on {owner.get('host', '?')} since {owner.get('time', '?')}"
