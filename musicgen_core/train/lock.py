"""One trainer per run directory."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musicgen_core.train.fit import STARTS
from musicgen_core.train.ranks import Refused, World
from musicgen_core.util.log import say
from musicgen_core.util.process import describe_process, is_alive
from musicgen_core.util.slurm import find_state


@contextmanager
def run_lock(run_dir: Path, world: World) -> Iterator[None]:
    """The first process holds `run_dir/LOCK`, created with O_EXCL and naming host, process and SLURM job.

    A lock whose process or job is gone is taken over, and one's own of before is kept (a job that was queued again, a
    process that has started again in its place), with a line that says which it was. Raises Refused when the owner
    lives, or when it is on another machine and cannot be asked. A collective call.
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
    found = find_state(job_id)
    return None if found is None else found.lives


def _take(path: Path, mine: dict[str, Any]) -> None:
    while True:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            say(f"train: {_judge(_read(path), mine, path)}")
            path.unlink(missing_ok=True)
            continue
        with open(descriptor, "w", encoding="utf-8") as handle:
            handle.write(json.dumps(mine))
        return


def _judge(owner: dict[str, Any], mine: dict[str, Any], path: Path) -> str:
    """Why the lock may be replaced, for the user. Raises Refused when it may not."""
    same = all(owner.get(key) == mine[key] for key in ("host", "pid", "started"))
    if same and owner.get("starts") != mine["starts"]:
        return f"process {mine['pid']} has started again in its place, and keeps its lock"
    if owner.get("job_id") and owner["job_id"] == mine["job_id"]:
        return f"SLURM job {mine['job_id']} was queued again, and takes its own lock back"
    alive: bool | None
    if not owner:
        alive = False
    elif owner.get("job_id"):
        alive = is_queued(owner["job_id"])
    else:
        alive = is_alive(owner)
    if alive:
        raise Refused(f"{path.parent} is being trained by {_name(owner)}; wait for it, or stop it")
    if alive is None:
        raise Refused(
            f"{path.parent} is locked by {_name(owner)}, which cannot be asked from {mine['host']}; "
            f"if it is gone, delete {path}"
        )
    return f"took over the lock of {_name(owner)}, which is gone"


def _describe_self() -> dict[str, Any]:
    return {
        **describe_process(),
        "starts": os.environ.get(STARTS, "0"),
        "job_id": os.environ.get("SLURM_JOB_ID"),
    }


def _read(path: Path) -> dict[str, Any]:
    """What the lock says; nothing when its writer died before it wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _name(owner: dict[str, Any]) -> str:
    job = f"SLURM job {owner['job_id']}, " if owner.get("job_id") else ""
    return f"{job}process {owner.get('pid', '?')} on {owner.get('host', '?')} since {owner.get('time', '?')}"
