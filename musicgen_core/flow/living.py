"""Whether somebody may still be at work on what lies under results: asked before it is called a leftover, or a stray.

Results may lie on a file system that many machines share. What cannot be asked is taken to live.
"""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path
from typing import Any

from musicgen_core.util.process import is_alive, start_ticks
from musicgen_core.util.slurm import find_state

TEMPORARY = re.compile(r"^\..+\.(\d+)(?:@([^/]+))?\.(tmp|old)$")
"""What `util/atomic.py` and the extension write to before they rename; it stays when a process is killed."""

OLD_SEC = 24 * 3600.0
"""A temporary file of a process that cannot be asked is a leftover when nobody wrote to it for so long."""


def is_leftover(path: Path) -> bool:
    """Whether the process that wrote this temporary file or folder is gone for certain, or silent for a day."""
    found = TEMPORARY.match(path.name)
    if found is None:
        return False
    number, host = int(found[1]), found[2]
    if host == socket.gethostname():
        return start_ticks(number) is None
    if host is None and start_ticks(number) is not None:
        return False
    try:
        files = [path, *path.rglob("*")] if path.is_dir() else [path]
        return time.time() - max(file.lstat().st_mtime for file in files) > OLD_SEC
    except OSError:
        return False  # it is just being renamed


def name_trainer(run_dir: Path) -> str:
    """Who may still train in this folder, for a person; empty when nobody does.

    A training holds LOCK while it runs; one that waits in SLURM's queue has job.json alone. DONE is written last.
    """
    owner, job = _read(run_dir / "LOCK"), _read(run_dir / "job.json")
    for job_id in {one["job_id"]: None for one in (owner, job) if one.get("job_id")}:
        state = find_state(job_id)
        if state is not None and state.lives:
            return f"SLURM job {job_id} has it ({state.state})"
        if state is None and not (run_dir / "DONE").exists():
            return f"SLURM job {job_id} may have it (squeue cannot be asked here); if it is gone, delete job.json"
    if owner and not owner.get("job_id") and is_alive(owner) is not False:
        return f"process {owner.get('pid', '?')} on {owner.get('host', '?')} trains it; if it is gone, delete LOCK"
    return ""


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else {}
    except (OSError, ValueError):
        return {}
