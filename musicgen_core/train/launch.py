"""Starts the processes of a run: this one, several by torchrun, or a SLURM job by submitit."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from musicgen_core.config.training import LaunchConfig
from musicgen_core.train import fit
from musicgen_core.train.stop import EXIT_CODE
from musicgen_core.util.log import say

if TYPE_CHECKING:
    from musicgen_core.train.job import TrainJob
    from musicgen_core.train.watch import Watch

RANK_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
SHUTDOWN_SEC = 120
"""What processes get to save in after a signal, before they are killed."""


def launch(job: TrainJob, where: LaunchConfig) -> None:
    """Train in as many processes as `where` says; return when `run_dir/DONE` is written.

    Raises ValueError for a geometry or an environment that cannot work, and SystemExit (75 after a signal, once all is
    saved, otherwise 1) when a process of the run has failed and has said why.
    """
    if is_done(job):
        say(f"train: {job.run_dir} is already trained; nothing to do")
        return
    check_geometry(where)
    worker = check_environment(os.environ, where.launcher)
    if where.launcher == "submitit":
        from musicgen_core.train.slurm import launch_submitit

        launch_submitit(job, where)
    elif where.launcher == "torchrun":
        launch_torchrun(job, where)
    elif worker:
        run_rank(job)
    else:
        _train_alone(job)


def is_done(job: TrainJob) -> bool:
    """Whether the run is complete; False for a marker that a kill or a disk has torn."""
    try:
        done = json.loads((job.run_dir / "DONE").read_text(encoding="utf-8"))
        return done["steps"] >= job.config.training.steps or done.get("stopped_early", False)
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        return False


def check_geometry(where: LaunchConfig) -> None:
    """Raise ValueError, with the figures and the remedy, when the launcher cannot start that many processes."""
    if min(where.nodes, where.processes_per_node, where.cpus_per_process) < 1:
        raise ValueError(
            f"nodes {where.nodes}, processes per node {where.processes_per_node} and cpus per process "
            f"{where.cpus_per_process} must each be at least 1"
        )
    if where.launcher == "none" and where.nodes * where.processes_per_node > 1:
        raise ValueError(
            f"launcher none starts 1 process, but {where.nodes} nodes x {where.processes_per_node} processes were "
            "asked for; use launcher torchrun (one machine) or submitit (SLURM)"
        )
    if where.launcher == "torchrun" and where.nodes > 1:
        raise ValueError(f"launcher torchrun stays on 1 machine, but {where.nodes} nodes were asked for; use submitit")
    if where.gpus_per_node and where.gpus_per_node < where.processes_per_node:
        raise ValueError(
            f"{where.processes_per_node} processes per node but {where.gpus_per_node} GPUs: each process needs its "
            "own; lower processes_per_node or ask for more GPUs"
        )


def check_environment(environ: Mapping[str, str], launcher: str) -> bool:
    """Return whether this process was started by a torchrun that the user called.

    Raises ValueError for rank variables that something else has left behind: they would make the trainer wait for
    processes that never come.
    """
    found = [name for name in RANK_VARIABLES if name in environ]
    if not found:
        return False
    started_by_torchrun = "TORCHELASTIC_RUN_ID" in environ and len(found) == len(RANK_VARIABLES)
    if started_by_torchrun and launcher == "none":
        return True
    shown = " ".join(f"{name}={environ[name]}" for name in found)
    if started_by_torchrun:
        raise ValueError(f"torchrun has started this process already ({shown}); use launcher none, not {launcher}")
    raise ValueError(f"stray variables in the environment: {shown}; remove them first: unset {' '.join(found)}")


def launch_torchrun(job: TrainJob, where: LaunchConfig) -> None:
    """Start processes on this machine with torch's elastic agent, which torchrun is made of, and wait for them."""
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig as ElasticConfig
    from torch.distributed.launcher.api import elastic_launch

    processes = where.processes_per_node
    threads = max(1, min(where.cpus_per_process, (os.cpu_count() or 1) // processes))
    elastic = ElasticConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        shutdown_timeout=SHUTDOWN_SEC,
        signals_to_handle="SIGTERM,SIGINT,SIGUSR1,SIGUSR2",
    )
    say(f"train: starting {processes} processes with {threads} threads each")
    try:
        elastic_launch(elastic, run_rank)(replace(job, num_threads=threads))
    except ChildFailedError as error:
        codes = {failure.exitcode for failure in error.failures.values()}
        if fit.EXIT_CODE in codes:
            launch_torchrun(job, where)
            return
        if codes != {EXIT_CODE}:
            say(f"train: a process failed (exit codes {sorted(codes)}); what it said is above")
            raise SystemExit(1) from None
        raise SystemExit(EXIT_CODE) from None
    except SignalException as error:
        if is_done(job):
            return
        say(f"train: {signal.Signals(error.sigval).name}: all processes have ended; run the same command to resume")
        raise SystemExit(EXIT_CODE) from None


def run_rank(job: TrainJob, note: Callable[[BaseException, str], None] | None = None) -> None:
    """One process among several: its error is said whole and at once, before anything can wait for the others.

    `note` gets the error and its text first, for whoever follows the run from elsewhere.
    """
    from musicgen_core.train.loop import train
    from musicgen_core.train.ranks import Refused
    from musicgen_core.train.watch import Watch

    rank = os.environ.get("RANK", "0")
    watch = Watch()
    try:
        train(job, watch)
    except Refused as error:
        if note is not None:
            note(error, f"train: error: {error}")
        _leave(f"train: error: {error}", watch, quiet=True)
    except fit.TooLargeError as error:
        watch.out_of_memory(error.smaller)
    except Exception as error:
        watch.wait_for_verdict(error)
        text = traceback.format_exc()
        if note is not None:
            note(error, text)
        last = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
        _leave(f"train: process {rank} failed:\n{text}", watch, f"process {rank} failed: {last}")
    finally:
        watch.close()


def _train_alone(job: TrainJob) -> None:
    """In this process, with the micro-batch that fits."""
    from musicgen_core.train.loop import train

    while True:
        try:
            return train(job)
        except fit.TooLargeError as error:
            smaller = error.smaller
        fit.remember(job.run_dir, smaller, job.config.training.batch_size)  # out here nothing holds the memory any more
        fit.free_memory()


def _leave(message: str, watch: Watch, line: str = "", quiet: bool = False) -> Any:
    """Say it, tell the others and end: an orderly end would wait for processes that wait for this one."""
    say(message)
    watch.fail(line, quiet)
    sys.stdout.flush()
    os._exit(1)
