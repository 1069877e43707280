"""Training as a SLURM job: submitted once, followed, and found again by whoever asks next.

The id of the job is kept in run_dir/job.json. A second call attaches to that job while SLURM has it. Ctrl-C cancels the
job, which saves first; SIGTERM, or the death of this process, leaves it running. Whether the job lives is asked of
squeue: clusters without accounting have no sacct.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import FrameType
from typing import Any

import submitit
from submitit.core.job_environment import JobEnvironment
from submitit.helpers import DelayedSubmission

from musicgen_core.config.training import LaunchConfig
from musicgen_core.train.launch import is_done, run_rank
from musicgen_core.train.lock import guard, is_queued
from musicgen_core.train.setup import TrainJob
from musicgen_core.train.stop import EXIT_CODE, Stopped
from musicgen_core.util.atomic import write_json
from musicgen_core.util.log import say

MIN_RUNTIME_MIN = 15
"""submitit takes every signal for a time-out in jobs of 10 minutes and less."""

POLL_SEC = 2.0
POLLS_UNTIL_GONE = 3
"""A job that is being requeued may be missing from one answer."""

MAX_REQUEUES = 100
SIGNAL_DELAY_SEC = 90
"""SLURM announces the time limit this long before it."""

GRACE_SEC = 10.0
"""After SIGTERM, wait this long for the SIGUSR2 that says preemption rather than cancellation."""


class SlurmRank:
    """What each task of the job runs. submitit pickles it, and asks `checkpoint` for what a requeued job should run."""

    def __init__(self, job: TrainJob) -> None:
        self.job = job

    def __call__(self) -> None:
        environment = JobEnvironment()
        restart = os.environ.get("SLURM_RESTART_COUNT", "0")
        # A port of its own for every start: ranks of the former one may linger.
        port = random.Random(f"{environment.job_id} {restart}").randint(20000, 60000)
        os.environ.update(
            MASTER_ADDR=environment.hostnames[0],
            MASTER_PORT=str(port),
            RANK=str(environment.global_rank),
            WORLD_SIZE=str(environment.num_tasks),
            LOCAL_RANK=str(environment.local_rank),
        )
        try:
            run_rank(self.job)
        except Stopped as stopped:
            self._requeue_or_leave(stopped, environment.global_rank)

    def checkpoint(self) -> DelayedSubmission:
        return DelayedSubmission(SlurmRank(self.job))

    def _requeue_or_leave(self, stopped: Stopped, rank: int) -> None:
        """All ranks have saved, and submitit's own signal handlers are back.

        Its handler for SIGUSR2 acts on rank 0, requeues and exits; the others must live until SLURM ends them, or the
        job would count as failed.
        """
        if stopped.requeue and rank == 0:
            handler: Any = signal.getsignal(signal.SIGUSR2)
            handler(signal.SIGUSR2, None)
        time.sleep(120 if stopped.requeue else GRACE_SEC)
        os._exit(EXIT_CODE)


def launch_submitit(job: TrainJob, where: LaunchConfig) -> None:
    """Submit the job, or find the one that was, and follow it to its end.

    Raises ValueError when there is no SLURM here, and SystemExit when the job ended before the run did.
    """
    if shutil.which("sbatch") is None or shutil.which("squeue") is None:
        raise ValueError(
            "launcher submitit needs SLURM, but there is no sbatch and squeue in PATH; log in to the cluster, or use "
            "launcher none or torchrun"
        )
    try:
        with guard(job.run_dir):
            job_id = _known_job(job.run_dir)
            if job_id and _is_there(job_id):
                say(f"train: SLURM job {job_id} still has this run; following it")
            else:
                job_id = _submit(job, where)
                say(f"train: SLURM job {job_id} submitted: {where.nodes} nodes x {where.processes_per_node} processes")
        say(f"train: Ctrl-C cancels the job after it has saved; its log is {_log(job.run_dir, job_id)}")
        _follow(job, job_id)
    except KeyboardInterrupt:
        _cancel(job.run_dir)
        raise SystemExit(EXIT_CODE) from None
    if not is_done(job):
        _show_other_logs(job.run_dir, job_id)
        say(f"train: SLURM job {job_id} ended before the run did; run the same command to resume")
        say(f"train: its logs are in {job.run_dir}/slurm")
        raise SystemExit(1)


def _known_job(run_dir: Path) -> str | None:
    """The job that the last call submitted."""
    try:
        return json.loads((run_dir / "job.json").read_text(encoding="utf-8"))["job_id"]
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return None


def _submit(job: TrainJob, where: LaunchConfig) -> str:
    executor = submitit.AutoExecutor(folder=job.run_dir / "slurm", cluster="slurm", slurm_max_num_timeout=MAX_REQUEUES)
    executor.update_parameters(
        name=f"train-{job.run_dir.name}",
        nodes=where.nodes,
        tasks_per_node=where.processes_per_node,
        cpus_per_task=where.cpus_per_process,
        timeout_min=max(where.runtime_min, MIN_RUNTIME_MIN),
        slurm_signal_delay_s=SIGNAL_DELAY_SEC,
        slurm_srun_args=["--kill-on-bad-exit=1"],
        slurm_additional_parameters={"mem": f"{where.memory_mb}M", "requeue": True},
    )
    if where.gpus_per_node:
        executor.update_parameters(gpus_per_node=where.gpus_per_node)
    if where.partition:
        executor.update_parameters(slurm_partition=where.partition)
    if where.account:
        executor.update_parameters(slurm_account=where.account)
    submitted = executor.submit(SlurmRank(job))
    write_json(job.run_dir / "job.json", {"job_id": submitted.job_id})
    return submitted.job_id


def _follow(job: TrainJob, job_id: str) -> None:
    """Print what rank 0 says until the job is gone."""
    log = _log(job.run_dir, job_id)
    former = signal.signal(signal.SIGTERM, _detach(job_id))
    try:
        offset = 0
        while _is_there(job_id):
            offset = _print_new(log, offset)
        _print_new(log, offset)
    finally:
        signal.signal(signal.SIGTERM, former)


def _cancel(run_dir: Path) -> None:
    """Cancel the job and wait until it has saved and gone."""
    job_id = _known_job(run_dir)
    if job_id is None:
        return
    log = _log(run_dir, job_id)
    offset = log.stat().st_size if log.exists() else 0
    say(f"train: cancelling SLURM job {job_id}; it saves first")
    subprocess.run(["scancel", job_id], check=False)
    while _is_there(job_id):
        offset = _print_new(log, offset)
    _print_new(log, offset)


def _is_there(job_id: str) -> bool:
    """Wait one poll, then say whether SLURM has the job; patient with a controller that does not answer."""
    absent = 0
    while True:
        time.sleep(POLL_SEC)
        queued = is_queued(job_id)
        if queued:
            return True
        absent = absent + 1 if queued is False else 0
        if absent >= POLLS_UNTIL_GONE:
            return False


def _detach(job_id: str) -> Any:
    def leave(number: int, frame: FrameType | None) -> None:
        say(f"train: SLURM job {job_id} goes on; run the same command to follow it, `scancel {job_id}` to end it")
        raise SystemExit(EXIT_CODE)

    return leave


def _log(run_dir: Path, job_id: str) -> Path:
    return run_dir / "slurm" / f"{job_id}_0_log.err"


def _print_new(log: Path, offset: int) -> int:
    """Print whole new lines, without submitit's own; return where they end."""
    try:
        with open(log, "rb") as handle:
            handle.seek(offset)
            text = handle.read()
    except FileNotFoundError:
        return offset
    end = text.rfind(b"\n") + 1
    for line in text[:end].decode(errors="replace").splitlines():
        if not line.startswith("submitit "):
            say(line)
    return offset + end


def _show_other_logs(run_dir: Path, job_id: str) -> None:
    """Print tracebacks of the other ranks, the first to fail first."""
    logs = [path for path in (run_dir / "slurm").glob(f"{job_id}_*_log.err") if path != _log(run_dir, job_id)]
    for path in sorted(logs, key=lambda path: path.stat().st_mtime):
        text = path.read_text(errors="replace")
        if "Traceback" in text:
            say(f"train: from {path.name}:\n{text[text.rindex('Traceback') :]}")
