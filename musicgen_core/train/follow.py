"""Following a SLURM job from the terminal: where it is, what it says, and why it ended.

Whether the job lives is asked of squeue: clusters without accounting have no sacct.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from types import FrameType
from typing import Any

from musicgen_core.train.failures import read_failures
from musicgen_core.train.stop import EXIT_CODE
from musicgen_core.util.log import say
from musicgen_core.util.slurm import BETWEEN, JobState, describe_job, find_memory_kill, find_state

POLL_SEC = 2.0
SLOWEST_POLL_SEC = 15.0
"""A job of days is asked for four times a minute, one of minutes as often as its log is read."""

POLLS_UNTIL_GONE = 3
"""A job that is being requeued may be missing from one answer."""

BETWEEN_SEC = 60.0
"""A job on its way back into the queue after its node failed is there by then."""

LAST_WORDS = re.compile(r"train: process \d+ (failed|ends|stalls):")
"""A process says why it ends."""

TAIL_LINES = 15


class Follower:
    """One job of one run, seen from outside."""

    def __init__(self, run_dir: Path, job_id: str, known: bool = False) -> None:
        """`known`: the job was there before, and only the end of its log is news."""
        self.run_dir = run_dir
        self.job_id = job_id
        self.log = run_dir / "slurm" / f"{job_id}_0_log.err"
        self._offset = _offset_of_tail(self.log) if known else 0
        self._held = False
        self._said = ""
        self._ran = False
        self._left = False  # it ran, and was then seen on its way out

    def follow(self) -> None:
        """Print where the job is and what rank 0 says, until it is gone. On SIGTERM, leave it running."""
        former = signal.signal(signal.SIGTERM, self._detach)
        try:
            begun = time.monotonic()
            asked = begun - SLOWEST_POLL_SEC
            absent = 0
            between_since: float | None = None
            while True:
                self._print_new()
                now = time.monotonic()
                if now - asked < min(SLOWEST_POLL_SEC, max(POLL_SEC, (now - begun) / 20)) - 0.01:
                    time.sleep(POLL_SEC)
                    continue
                asked, found = now, find_state(self.job_id)
                if found is None:
                    self._say_once(f"train: SLURM does not answer; still trying to follow job {self.job_id}")
                    continue
                self._say_state(found)
                between_since = (between_since or now) if found.state in BETWEEN else None
                stuck = between_since is not None and now - between_since > BETWEEN_SEC
                absent = absent + 1 if stuck or not found.lives else 0
                if absent >= POLLS_UNTIL_GONE:
                    break
            self._print_new()
        finally:
            signal.signal(signal.SIGTERM, former)

    def cancel(self) -> None:
        """Cancel the job and wait until it has saved and gone."""
        self._offset = self.log.stat().st_size if self.log.exists() else 0
        say(f"train: cancelling SLURM job {self.job_id}; it saves first")
        subprocess.run(["scancel", self.job_id], check=False)
        while is_there(self.job_id):
            self._print_new()
        self._print_new()

    def explain(self) -> None:
        """Say why the job ended before the run did: the failing process's own words first, the verdict last."""
        failures = read_failures(self.run_dir / "slurm", self.job_id)
        own = [failure for failure in failures if not failure.lost_peer]
        reason = self._verdict(bool(own))
        for failure in own:
            say(f"train: process {failure.rank} on {failure.node} failed:\n{failure.text.rstrip()}")
        if others := [str(failure.rank) for failure in failures if failure.lost_peer]:
            say(f"train: then lost the connection to it: process {', '.join(others)}")
        if not failures:
            self._show_tails()
        say(f"train: the logs of all processes: {self.run_dir}/slurm/{self.job_id}_*_log.err")
        if own:
            last = own[0].text.rstrip().splitlines()[-1]
            say(f"train: SLURM job {self.job_id} failed in process {own[0].rank} on {own[0].node}: {last}")
        else:
            say(f"train: SLURM job {self.job_id} {reason}; {self._resume()}")

    def _verdict(self, failed: bool) -> str:
        """What became of the job, with the figure and the remedy where there is one."""
        shown = describe_job(self.job_id)
        state = shown.get("JobState", "")
        asked = _asked(self.run_dir)
        words = find_memory_kill(sorted((self.run_dir / "slurm").glob(f"{self.job_id}_*_log.err")))
        if state == "OUT_OF_MEMORY" or (words and not failed):
            measured = f" ({words})" if words else ""
            limit = f"{asked['memory_mb']} MB per node" if "memory_mb" in asked else "what it had asked for"
            return f"was killed for memory: it needs more than {limit}{measured}; raise MUSICGEN_MEMORY_MB"
        if state == "CANCELLED":
            return "was cancelled (scancel)"
        if state == "TIMEOUT":
            return f"ran into its time limit, {shown.get('TimeLimit', '?')}; raise MUSICGEN_RUNTIME_MIN"
        if state in BETWEEN:
            return f"ended in state {state} and SLURM did not queue it again ({shown.get('Reason', '?')})"
        code = f" (state {state}, exit code {shown['ExitCode']})" if "ExitCode" in shown else ""
        return f"ended before the run did{code}"

    def _resume(self) -> str:
        steps = [int(p.name.removeprefix("step-")) for p in (self.run_dir / "checkpoints").glob("step-*")]
        saved = f"saved at step {max(steps)}" if steps else "nothing was saved yet"
        return f"{saved}; run the same command to resume"

    def _say_state(self, found: JobState) -> None:
        if found.waits:
            self._left = False
            again = "is queued again" if self._ran else "waits"
            reason = f" ({found.reason})" if found.reason else ""
            held = f"; release it: scontrol release {self.job_id}" if "eld" in found.reason else ""
            self._say_once(f"train: SLURM job {self.job_id} {again}{reason}{held}")
        elif found.state == "RUNNING":
            if self._left:
                self._say_once(f"train: SLURM job {self.job_id} was queued again")  # for less than a poll
            self._ran, self._held, self._left = True, False, False
            self._say_once(f"train: SLURM job {self.job_id} runs{f' on {found.nodes}' if found.nodes else ''}")
        elif found.state in ("COMPLETING", *BETWEEN):
            self._left = self._ran

    def _say_once(self, message: str) -> None:
        if message != self._said:
            self._said = message
            say(message)

    def _detach(self, number: int, frame: FrameType | None) -> None:
        job_id = self.job_id
        say(f"train: SLURM job {job_id} goes on; run the same command to follow it, `scancel {job_id}` to end it")
        raise SystemExit(EXIT_CODE)

    def _print_new(self) -> None:
        """Print whole new lines of rank 0, without submitit's own; what it says of its failure waits for `explain`."""
        try:
            with open(self.log, "rb") as handle:
                handle.seek(self._offset)
                text = handle.read()
        except FileNotFoundError:
            return
        end = text.rfind(b"\n") + 1
        self._offset += end
        for line in text[:end].decode(errors="replace").splitlines():
            if LAST_WORDS.match(line):
                self._held = True
            elif self._held and line.startswith("train: "):
                self._held = False  # the next start of the job
            if not self._held and not line.startswith(("submitit ", "srun: ", "slurmstepd")):
                say(line)

    def _show_tails(self) -> None:
        """Without any note: the last lines of each process, the first to fall silent first."""
        logs = sorted((self.run_dir / "slurm").glob(f"{self.job_id}_*_log.err"), key=lambda path: path.stat().st_mtime)
        for path in logs:
            lines = [line for line in _tail(path, TAIL_LINES) if not line.startswith(("submitit ", "train: step"))]
            if path != self.log or any("error" in line.lower() or LAST_WORDS.match(line) for line in lines):
                say(f"train: the end of {path.name}:")
                for line in lines:
                    say(f"    {line}")


def is_there(job_id: str) -> bool:
    """Wait one poll, then say whether SLURM has the job; patient with a controller that does not answer."""
    absent = 0
    while True:
        time.sleep(POLL_SEC)
        found = find_state(job_id)
        if found is not None and found.lives:
            return True
        absent = absent + 1 if found is not None else 0
        if absent >= POLLS_UNTIL_GONE:
            return False


def _asked(run_dir: Path) -> dict[str, Any]:
    """What the job was submitted with."""
    try:
        return json.loads((run_dir / "job.json").read_text(encoding="utf-8"))["asked"]
    except (OSError, json.JSONDecodeError, KeyError):
        return {}


def _offset_of_tail(path: Path) -> int:
    """Where the last lines of a file begin."""
    text = path.read_bytes() if path.exists() else b""
    return len(text) - sum(len(line) for line in text.splitlines(keepends=True)[-TAIL_LINES:])


def _tail(path: Path, count: int) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
