"""Questions to SLURM: to squeue and scontrol, not to sacct, which knows nothing on a cluster without accounting."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
LIVING = (*WAITING, "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")
BETWEEN = ("NODE_FAIL", "PREEMPTED")
"""A job may pass through these on its way back into the queue, or end in them."""

MEMORY_KILL = re.compile(r"(exceeded (?:job )?memory limit|oom[-_ ]kill|out of memory)", re.IGNORECASE)
"""In the words of slurmstepd (polling) and of the kernel (cgroups)."""


@dataclass(frozen=True)
class JobState:
    """What squeue says of a job. States: https://slurm.schedmd.com/job_state_codes.html"""

    state: str
    """Empty: SLURM does not know the job, or no longer."""

    reason: str = ""
    """Why it waits, or why it ended; empty where there is nothing to say."""

    nodes: str = ""

    @property
    def waits(self) -> bool:
        return self.state in WAITING

    @property
    def lives(self) -> bool:
        return self.state in LIVING or self.state in BETWEEN


@dataclass(frozen=True)
class QueuedJob:
    """A living job of this user."""

    job_id: str
    name: str
    comment: str
    state: str
    folder: str
    """Working directory it was submitted from."""


def ask(*command: str) -> str | None:
    """Standard output of one of SLURM's commands; None when it is not here, fails, or does not answer for a minute."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and "Invalid job id" in done.stderr:
        return ""
    return done.stdout if done.returncode == 0 else None


def find_state(job_id: str) -> JobState | None:
    """State of a job; None when SLURM cannot be asked at the moment."""
    shown = ask("squeue", "--noheader", "--states=all", "--format=%T|%r|%N", "--jobs", job_id)
    if shown is None:
        return None
    states = []
    for line in shown.splitlines():
        state, reason, nodes = (*line.strip().split("|"), "", "")[:3]
        states.append(JobState(state, "" if reason == "None" else reason, nodes))
    return min(states, key=lambda state: (state.state not in LIVING, not state.lives), default=JobState(""))


def list_own_jobs() -> list[QueuedJob]:
    """All jobs of this user that wait or run; none where SLURM cannot be asked."""
    shown = ask("squeue", "--me", "--noheader", "--format=%i\t%j\t%k\t%T\t%Z")
    jobs = []
    for line in (shown or "").splitlines():
        fields = line.strip().split("\t")
        if len(fields) == 5:
            jobs.append(QueuedJob(*fields))
    return jobs


def describe_job(job_id: str) -> dict[str, str]:
    """What `scontrol show job` says: JobState, Reason, Restarts, ExitCode, ...; empty where it cannot say."""
    shown = ask("scontrol", "--oneliner", "show", "job", job_id) or ""
    return dict(re.findall(r"(\S+?)=(\S*)", shown))


def find_memory_kill(logs: Iterable[Path]) -> str:
    """slurmstepd's own words at the end of one of a job's logs; empty when memory was not the reason."""
    for path in logs:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[-50:]:
            if line.startswith(("slurmstepd", "srun")) and MEMORY_KILL.search(line):
                return re.sub(r"^\w+: (error: )?(\*+ )?", "", line.strip())
    return ""
