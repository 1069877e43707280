"""A copy of the workflow with a small corpus and a small codec, on which real snakemake runs."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from small_music import make_corpus

ROOT = Path(__file__).parents[1]


@dataclass
class Outcome:
    """What one call of snakemake did."""

    returncode: int
    text: str
    """Standard output and error."""

    jobs: list[tuple[str, str]] = field(init=False)
    """(rule, its wildcards) of every job that ran, or would run; targets left out; sorted."""

    def __post_init__(self) -> None:
        blocks = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", self.text, re.MULTILINE)
        jobs = [(rule, re.search(r"wildcards: (.*)", block)) for rule, block in blocks]
        self.jobs = sorted((rule, found[1]) for rule, found in jobs if found)

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(rule for rule, _ in self.jobs))

    def buckets(self, rule: str) -> set[str]:
        return {wildcards.split("bucket=")[1] for name, wildcards in self.jobs if name == rule}

    @property
    def error_line(self) -> str:
        """The last line, which must be the only one besides what the plan says."""
        lines = [line for line in self.text.splitlines() if not re.match(r"Using profile|plan: |Config file", line)]
        assert len(lines) == 1, self.text
        return lines[0]


@dataclass
class Project:
    folder: Path
    config: dict[str, Any]

    def snakemake(self, *arguments: str, env: dict[str, str] | None = None) -> Outcome:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config))
        done = subprocess.run(
            [Path(sys.executable).with_name("snakemake"), *arguments],
            cwd=self.folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(self.folder / ".cache")} | (env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
        )
        return Outcome(done.returncode, done.stdout)

    def run(self, *arguments: str) -> Outcome:
        """Execute, and insist on success."""
        outcome = self.snakemake("--profile", "local", *arguments)
        assert outcome.returncode == 0, outcome.text
        return outcome

    def dry_run(self, *arguments: str) -> Outcome:
        return self.run(*arguments, "--dry-run")

    @property
    def music(self) -> Path:
        return self.folder / "music"


def make_project(folder: Path, codec: Path, num_tracks: int = 9) -> Project:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "workflow", folder / "workflow")
    shutil.copytree(ROOT / "profiles", folder / "profiles")
    for name in ("local", "slurm"):
        (folder / name).symlink_to(os.readlink(ROOT / name))
    make_corpus(folder / "music", num_tracks)
    shutil.copytree(codec, folder / "codec")
    config = {
        "corpora": {"mine": {"path": "music", "captions": ["json", "txt"], "num_buckets": 3}},
        "codec": {"kind": "tiny", "path": "codec"},
        "training": {"steps": 4, "segment_sec": 1.0},
        "runs": {"base": {}, "slow": {"training": {"learning_rate": 0.0001}}},
    }
    return Project(folder, config)
