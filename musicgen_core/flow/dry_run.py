"""What Snakemake would run: its own dry run, asked for and read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from musicgen_core.util.log import say

FIELD = re.compile(r"^    (output|reason|wildcards): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """One job that would run."""

    rule: str
    wildcards: dict[str, str]
    outputs: list[str]
    reason: str
    """In Snakemake's words."""

    @property
    def stage(self) -> str:
        """The stage that the rule runs: `train_run` runs `train`."""
        return self.rule.removesuffix("_run")

    @property
    def name(self) -> str:
        return " ".join([self.stage, *self.wildcards.values()])


def dry_run(config: Path, targets: list[str]) -> list[Job]:
    """The jobs that `snakemake TARGETS` would run now, in Snakemake's order. What the plan says goes to standard error.

    Raises ValueError with Snakemake's last line when it cannot tell: an unknown target, a mistake in the config.
    """
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--nocolor", "--rerun-incomplete", "--cores", "1"]
    command += [*targets, "--configfile", str(config)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    for line in lines:
        if line.startswith("plan: "):
            say(line)
    if done.returncode:
        last = next((line for line in reversed(lines) if not line.startswith("plan: ")), "snakemake said nothing")
        raise ValueError(last.strip().removeprefix("Error: "))
    return parse_jobs(done.stdout)


def parse_jobs(text: str) -> list[Job]:
    """Read the blocks of a dry run's output; targets, which run nothing, are left out."""
    jobs = []
    for rule, block in re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", text, re.MULTILINE):
        found = dict(FIELD.findall(block))
        if "output" in found:
            wildcards = dict(item.split("=", 1) for item in found.get("wildcards", "").split(", ") if item)
            jobs.append(Job(rule, wildcards, found["output"].split(", "), found.get("reason", "")))
    return jobs
