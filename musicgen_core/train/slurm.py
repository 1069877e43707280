"""Training as a SLURM job: submitted once, followed, and found again by whoever asks next.

The id of the job is kept in run_dir/job.json. A second call attaches to that job while SLURM has it. Ctrl-C cancels the
job, which saves first; SIGTERM, or the death of this process, leaves it running. docs/slurm.md says what happens when.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import submitit
from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.helpers import DelayedSubmission

from musicgen_core.config.batching import check_batch
from musicgen_core.config.site import LEAST_TRAINING_MIN, TRAINING
from musicgen_core.config.training import LaunchConfig
from musicgen_core.train.failures import note_failure
from musicgen_core.train.follow import Follower, is_there
from musicgen_core.train.job import TrainJob
from musicgen_core.train.launch import is_done, run_rank
from musicgen_core.train.lock import guard
from musicgen_core.train.stop import EXIT_CODE, Stopped
from musicgen_core.util.atomic import write_json
from musicgen_core.util.log import say
from musicgen_core.util.partition import Request, check_account, check_request, read_partitions
from musicgen_core.util.slurm import find_state

MAX_REQUEUES = 100
SIGNAL_DELAY_SEC = 90
"""SLURM announces the time limit this long before it."""

LAST_SEC = 120
"""How long a process that has saved waits for SLURM to end it."""


class SlurmRank:
    """What each task of the job runs. submitit pickles it, and asks `checkpoint` for what a requeued job should run."""

    def __init__(self, job: TrainJob) -> None:
        self.job = job

    def __call__(self) -> None:
        environment = JobEnvironment()
        restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        # A port of its own for every start: ranks of the former one may linger.
        port = random.Random(f"{environment.job_id} {restart}").randint(20000, 60000)
        os.environ.update(
            MASTER_ADDR=environment.hostnames[0],
            MASTER_PORT=str(port),
            RANK=str(environment.global_rank),
            WORLD_SIZE=str(environment.num_tasks),
            LOCAL_RANK=str(environment.local_rank),
        )
        folder = self.job.run_dir / "slurm"
        try:
            run_rank(self.job, note_failure(folder, environment.job_id, restart, environment.global_rank))
        except Stopped as stopped:
            self._requeue_or_leave(stopped, environment)

    def checkpoint(self) -> DelayedSubmission:
        return DelayedSubmission(type(self)(self.job))

    def _requeue_or_leave(self, stopped: Stopped, environment: JobEnvironment) -> None:
        """All ranks have saved, and submitit's own signal handlers are back.

        Its handler for SIGUSR2 acts on rank 0, requeues and exits; the others must live until SLURM ends them, or the
        job would count as failed. After SIGTERM alone the job may have been cancelled, or SLURM may be about to requeue
        it itself (preemption on a cluster that sends no SIGUSR2): while SLURM calls it running, it waits for its end.
        """
        if stopped.requeue and environment.global_rank == 0:
            handler: Any = signal.getsignal(signal.SIGUSR2)
            handler(signal.SIGUSR2, None)
        end = time.monotonic() + LAST_SEC
        while time.monotonic() < end:
            time.sleep(1)
            if environment.global_rank == 0 and not stopped.requeue:
                found = find_state(environment.job_id)
                if found is not None and found.state != "RUNNING":
                    break
        os._exit(EXIT_CODE)


def launch_submitit(job: TrainJob, where: LaunchConfig) -> None:
    """Submit the job, or find the one that was, and follow it to its end.

    Raises ValueError, before anything is submitted, when there is no SLURM here or it can never start such a job, and
    SystemExit when the job ended before the run did.
    """
    if shutil.which("sbatch") is None or shutil.which("squeue") is None:
        raise ValueError(
            "launcher submitit needs SLURM, but there is no sbatch and squeue in PATH; log in to the cluster, or use "
            "launcher none or torchrun"
        )
    try:
        with guard(job.run_dir):
            job_id = _known_job(job.run_dir)
            known = job_id is not None and is_there(job_id)
            if job_id is not None and known:
                say(f"train: SLURM job {job_id} still has this run; following it")
            else:
                check_slurm_geometry(job, where)
                job_id = _submit(job, where)
                say(f"train: SLURM job {job_id} submitted: {where.nodes} nodes x {where.processes_per_node} processes")
        follower = Follower(job.run_dir, job_id, known)
        say(f"train: Ctrl-C cancels the job after it has saved; its log is {follower.log}")
        follower.follow()
    except KeyboardInterrupt:
        if job_id := _known_job(job.run_dir):
            Follower(job.run_dir, job_id).cancel()
        raise SystemExit(EXIT_CODE) from None
    if not is_done(job):
        follower.explain()
        raise SystemExit(1)


def check_slurm_geometry(job: TrainJob, where: LaunchConfig) -> None:
    """Raise ValueError when the batch does not divide, or the partition can never hold the job."""
    check_batch(job.config.training, where.nodes * where.processes_per_node, "processes (nodes x processes per node)")
    request = ask_for(where)
    check_request(request, read_partitions())
    check_account(request)


def ask_for(where: LaunchConfig) -> Request:
    return Request(
        what="training",
        partition=where.partition,
        account=where.account,
        nodes=where.nodes,
        processes_per_node=where.processes_per_node,
        cpus_per_process=where.cpus_per_process,
        gpus_per_node=where.gpus_per_node,
        memory_mb=where.memory_mb,
        runtime_min=where.runtime_min,
        least_min=LEAST_TRAINING_MIN,
        remedies=TRAINING,
    )


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
        timeout_min=max(where.runtime_min, LEAST_TRAINING_MIN),
        slurm_comment=f"musicgen train {job.run_dir.name}",
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
    try:
        submitted = executor.submit(SlurmRank(job))
    except (FailedJobError, FailedSubmissionError) as error:
        said = [line for line in str(error).splitlines() if line.strip()]
        raise ValueError(f"sbatch refused the job: {said[-1] if said else 'it gave no reason'}") from None
    write_json(job.run_dir / "job.json", {"job_id": submitted.job_id, "asked": asdict(where)})
    return submitted.job_id
