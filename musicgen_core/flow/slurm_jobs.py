"""Before Snakemake submits its first job to SLURM: jobs that a dead snakemake left, and jobs that could never start.

Afterwards: what became of the jobs that failed, in a line each.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from musicgen_core.config import site
from musicgen_core.config.batching import check_batch
from musicgen_core.config.root import RunConfig
from musicgen_core.util.log import say
from musicgen_core.util.partition import Request, check_account, check_accounting, check_request, read_partitions
from musicgen_core.util.slurm import LIVING, ask, describe_job, find_memory_kill, list_own_jobs


def check_orphans(runs: Iterable[str]) -> None:
    """Name the jobs of this folder that still wait or run though no snakemake works here.

    Training jobs of `runs` (folder names) are followed when their turn comes. Raises ValueError for data jobs: a second
    job would write the same files.
    """
    jobs = [job for job in list_own_jobs() if job.folder == os.getcwd()]
    for job in jobs:
        if job.comment.startswith("musicgen train "):
            run = job.comment.removeprefix("musicgen train ")
            if run in runs:
                say(f"train: SLURM job {job.job_id} still has {run} ({job.state}); it is followed when its turn comes")
            else:
                say(f"train: SLURM job {job.job_id} has {run}, which is no run of this config: scancel {job.job_id}")
    data = [job for job in jobs if job.name.startswith("musicgen_")]
    if data:
        names = ", ".join(f"{job.job_id} ({_short(job.comment)}, {job.state})" for job in data[:8])
        more = f" and {len(data) - 8} more" if len(data) > 8 else ""
        numbers = " ".join(job.job_id for job in data)
        raise ValueError(
            f"SLURM jobs of a snakemake that died still work here: {names}{more}; wait until they have ended, or end "
            f"them: scancel {numbers}; then the same command"
        )


def check_jobs(jobs: Iterable[Any], runs: dict[str, RunConfig]) -> None:
    """Raise ValueError for the first of Snakemake's jobs (or groups of jobs) that its partition can never start."""
    partitions = read_partitions()
    checked = set()
    for job in jobs:
        training = not job.is_group() and job.rule.name == "train_run"
        if job.is_local and not training:
            continue
        request = _training_request(job) if training else _data_request(job)
        if training:
            processes = request.nodes * request.processes_per_node
            check_batch(runs[job.wildcards.run].training, processes, "processes (nodes x processes per node)")
        known = repr(replace(request, what=""))
        if known not in checked:
            checked.add(known)
            check_request(request, partitions)
            check_account(request)
            if not training:
                check_accounting(request)


def check_memory_of_jobs(poll_sec: int) -> None:
    """Warn where SLURM forgets ended jobs so soon that squeue cannot be asked how they ended."""
    found = re.search(r"^MinJobAge\s*=\s*(\d+)", ask("scontrol", "show", "config") or "", re.MULTILINE)
    if found and int(found[1]) < 3 * poll_sec:
        say(
            f"slurm: this cluster forgets ended jobs after {found[1]} s (MinJobAge): set MUSICGEN_SLURM_POLL_SEC to "
            f"{max(1, int(found[1]) // 3)} or less, or a cancelled job may go unnoticed"
        )


def explain_failed_jobs(snakemake_log: str) -> list[str]:
    """One line for each SLURM job that Snakemake saw fail for a reason that the job itself could not say."""
    lines = []
    for job_id, state in _list_failed(snakemake_log):
        shown = describe_job(job_id)
        log = Path(shown.get("StdOut", ""))
        what = _short(shown.get("Comment", "?"))
        name, variables = f"SLURM job {job_id} ({what})", site.variables_of(what.split()[0])
        memory = re.search(r"mem=([\d.]+[KMGT]?)", shown.get("TRES", ""))
        words = find_memory_kill([log]) if log.is_file() else ""
        if state == "OUT_OF_MEMORY" or words:
            measured = f" ({words})" if words else ""
            limit = memory[1] if memory else "what it had asked for"
            remedy = f"raise {variables['memory']}"
            lines.append(f"{name} was killed for memory: it needs more than {limit}{measured}; {remedy}")
        elif state == "CANCELLED":
            lines.append(f"{name} was cancelled (scancel); run the same command to go on")
        elif state == "TIMEOUT":
            limit = shown.get("TimeLimit", "?")
            lines.append(f"{name} ran into its time limit, {limit}; raise {variables['runtime'].split(' or ')[0]}")
        elif state != "FAILED":
            lines.append(f"{name} ended in state {state} ({shown.get('Reason', '?')}); run the same command to go on")
    return lines


def _list_failed(snakemake_log: str) -> list[tuple[str, str]]:
    """(job, state) of what SLURM calls ended but not completed, of the run that wrote this log.

    Snakemake itself names no job of SLURM when a group fails, but each run has a name of its own in the queue.
    """
    named = re.search(r"SLURM run ID: (\S+)", snakemake_log)
    if named is None:
        return []
    shown = ask("squeue", "--noheader", "--states=all", "--format=%i|%T", "--name", named[1]) or ""
    jobs = [(job_id, state) for job_id, _, state in (line.strip().partition("|") for line in shown.splitlines())]
    return [(job_id, state) for job_id, state in jobs if state and state != "COMPLETED" and state not in LIVING]


def _training_request(job: Any) -> Request:
    asked = job.resources
    return Request(
        what=f"training {job.wildcards.run}",
        partition=asked.get("partition") or None,
        account=asked.get("account") or None,
        nodes=asked.nodes,
        processes_per_node=asked.processes_per_node,
        cpus_per_process=asked.cpus_per_process,
        gpus_per_node=asked.gpus_per_node,
        memory_mb=asked.memory_mb,
        runtime_min=asked.runtime_min,
        least_min=site.LEAST_TRAINING_MIN,
        remedies=site.TRAINING,
    )


def _data_request(job: Any) -> Request:
    asked, bucket = job.resources, job.is_group()
    remedies = site.variables_of(job.groupid if bucket else job.rule.name)
    if asked.get("gpu"):
        remedies = {**remedies, "partition": site.GPU_PARTITION}
    return Request(
        what=job.groupid if bucket else job.rule.name,
        partition=str(asked.get("slurm_partition")) if asked.get("slurm_partition") else None,
        account=str(asked.get("slurm_account")) if asked.get("slurm_account") else None,
        cpus_per_process=job.threads,
        gpus_per_node=asked.get("gpu") or 0,
        memory_mb=asked.get("mem_mb") or 0,
        runtime_min=asked.get("runtime") or 0,
        remedies=remedies,
    )


def _short(comment: str) -> str:
    """`rule_resample_resample` (a group), `rule_index_wildcards_demo` -> the stage and what it works on."""
    name, _, wildcards = comment.removeprefix("rule_").partition("_wildcards_")
    return f"{name.split('_')[0]} {wildcards}".strip()
