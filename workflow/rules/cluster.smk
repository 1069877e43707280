# SLURM around the jobs: is it there, can it start them, what did a dead snakemake leave, what became of the failed ones.
import functools
import json
import logging
import re
import shutil
import signal
import subprocess

from snakemake.jobs import Job

from musicgen_core.flow import workers
from musicgen_core.flow.finished import is_finished
from musicgen_core.flow.slurm_jobs import check_jobs, check_memory_of_jobs, check_orphans, explain_failed_jobs
from musicgen_core.util.process import list_descendants


def require_slurm(args) -> None:
    """Refuse to start jobs on a cluster that is not there."""
    if args.executor != "slurm" or args.dryrun:
        return
    remedy = "run this where sbatch works, or use --profile local"
    if shutil.which("sbatch") is None:
        raise ValueError(f"no SLURM here: there is no command sbatch; {remedy}")
    asked = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True)
    if asked.returncode != 0:
        said = asked.stderr.strip().splitlines()[-1:]
        raise ValueError(f"no SLURM here: {said[0] if said else 'sinfo fails'}; {remedy}")


def begin() -> None:
    """Called once, before the first job is submitted, while this snakemake holds the lock."""
    others = workers.list_others()[0]
    workers.forget_gone()
    workers.register(Path(path).name for path in getattr(workflow.persistence, "_lockfile", {}).values())
    hand_on_sigterm()
    try:
        if not others:
            check_orphans(RUNS)
        if workflow.executor_plugin.name == "slurm":
            check_memory_of_jobs(workflow.executor_settings.init_seconds_before_status_checks)
            check_jobs(list_submissions(), RUNS)
    except ValueError as error:
        raise SystemExit(f"Error: {error}") from None


def list_submissions() -> list:
    """What Snakemake will submit: groups of jobs, and jobs of no group. (Its own list stumbles over groups' done jobs.)"""
    groups = workflow.dag._group
    return list({id(one): one for one in (groups.get(job, job) for job in workflow.dag.needrun_jobs())}.values())


def hand_on_sigterm() -> None:
    """On SIGTERM Snakemake starts nothing new and waits for its jobs. Who follows a training in SLURM need not wait."""
    former = signal.getsignal(signal.SIGTERM)

    def leave(number, frame):
        former(number, frame)
        for pid, words in list_descendants(os.getpid()):
            if "train" in words and "submitit" in words:
                os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)


KEPT = []  # jobs that were finished when others of their group failed


def spare_finished(cleanup):
    """Of a group of which a job failed, Snakemake removes all outputs. What its receipt calls whole stays."""

    @functools.wraps(cleanup)
    async def clean(job, skip_outputs):
        if job.group and is_finished(job.rule.name, json.loads(job.params.config), job.output):
            skip_outputs = {*skip_outputs, *job.output}
            KEPT.append(job)
            say(f"kept: {job.output[0]}, which was finished before its SLURM job failed")
        await cleanup(job, skip_outputs)

    return clean


Job.cleanup = spare_finished(getattr(Job.cleanup, "__wrapped__", Job.cleanup))


def one_line_for_a_lock(record: logging.LogRecord) -> bool:
    """Snakemake's six lines about a locked folder, which cannot say by whom, become one that can. So does what it says
    of files that a plan taken as it lies does not have."""
    locked = {"LockException"} | ({"MissingInputException"} if workers.is_locked() else set())
    if getattr(record, "exception", None) in locked:
        record.msg, record.args = workers.explain_lock(), ()
    return True


def say_what_failed(snakemake_logs: list[str]) -> None:
    """After a failure, repeat each failed job's own last line: Snakemake's account of it is long."""
    text = "\n".join(Path(path).read_text(encoding="utf-8", errors="replace") for path in snakemake_logs)
    finished = {str(log) for job in KEPT for log in job.log}
    for name in dict.fromkeys(re.findall(r"^ +log: (.+) \(check log file", text, re.MULTILINE)):
        if name in finished:
            continue
        path = Path(name)
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
        lines = [line for line in lines if line.strip()]
        if lines:
            say(f"failed: {lines[-1]}  ({name})")
    for line in explain_failed_jobs(text):
        say(f"failed: {line}")
