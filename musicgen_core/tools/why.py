"""`musicgen why`: what would run, and for each job why."""

from __future__ import annotations

from pathlib import Path

from musicgen_core.config.overlay import load_overlay
from musicgen_core.flow.cause import explain
from musicgen_core.flow.dry_run import dry_run
from musicgen_core.flow.resolve import read_flow


def run(*targets: str, config: Path = Path("config.yaml")) -> None:
    """Print one line per job that `snakemake TARGET...` would run: its stage and what it is of, and which input, key or
    version differs from what its output was made with, old -> new. Nothing runs. Targets are Snakemake's: all
    (default), tokens, train, report, or paths of results.
    """
    jobs = dry_run(config, list(targets))
    if not jobs:
        print("nothing would run: everything is up to date")
        return
    flow = read_flow(load_overlay(config))
    makers = {path: job for job in jobs for path in job.outputs}
    for job in jobs:
        print(explain(job, flow, makers))
    print(f"{len(jobs)} jobs")
