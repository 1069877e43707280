"""A project of 1,000 tracks in 64 buckets whose results are empty files that Snakemake takes for finished."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
from small_music import RATE_HZ
from small_project import Project, make_project

from musicgen_core.util.atomic import read_jsonl

NUM_TRACKS, NUM_BUCKETS = 1000, 64
BELOW_TRAINING = ("train_run", "export", "generate", "evaluate", "report_run")

Jobs = list[tuple[str, str]]


class Thousand(Project):
    """Rows of the table of staleness are tried on it: each changes something, asks for a dry run, and undoes it."""

    def make_music(self) -> None:
        rng = np.random.default_rng(0)
        for number in range(NUM_TRACKS):
            make_clip(self.music / f"{number:04d}.wav", rng)
        lines = [(f"{n:04d}.wav", f"tone {n}", f"artist {n}", "CC0-1.0") for n in range(NUM_TRACKS)]
        self.write_captions([("file", "description", "artist", "license"), *lines])

    def write_captions(self, rows: list[tuple[str, ...]]) -> None:
        with open(self.music / "captions.csv", "w", encoding="utf-8", newline="") as handle:
            csv.writer(handle).writerows(rows)

    def read_captions(self) -> list[tuple[str, ...]]:
        with open(self.music / "captions.csv", encoding="utf-8", newline="") as handle:
            return [tuple(row) for row in csv.reader(handle)]

    def finish(self, *targets: str) -> Jobs:
        """Let every job that would run count as done, without running it; -> those jobs."""
        planned = self.dry_run(*targets)
        for line in re.findall(r"^    output: (.*)$", planned.text, re.MULTILINE):
            for name in line.split(", "):
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        for folder in self.run_folders():
            self.fake_training(folder)
        self.run("--touch", "--forceall", *targets)
        return planned.jobs

    def fake_training(self, folder: str) -> None:
        """Leave what a training leaves behind, without its weights."""
        run_dir = self.folder / "results/runs" / folder
        stage = json.loads((self.folder / f"results/plan/stages/train/{folder}.json").read_text())
        continued = next(run["continues"] for run in self.planned_runs().values() if run["folder"] == folder)
        text = json.dumps({**stage["config"], "stage_version": stage["version"], "continued_from": continued})
        (run_dir / "config.json").write_text(text)
        (run_dir / "checkpoints/step-00000004").mkdir(parents=True, exist_ok=True)

    def run_folders(self) -> list[str]:
        """Folders of the config's runs, as the last call of snakemake named them."""
        return [run["folder"] for run in self.planned_runs().values()]

    def planned_runs(self) -> dict[str, dict[str, object]]:
        return json.loads((self.folder / "results/plan/runs.json").read_text())

    def bucket_of(self, name: str, corpus: str = "mine") -> str:
        lines = read_jsonl(self.folder / f"results/plan/{corpus}/inventory.jsonl")
        return next(line["bucket"] for line in lines if line["path"] == name)

    def all_buckets(self, corpus: str = "mine") -> set[str]:
        plan = json.loads((self.folder / "results/plan/plan.json").read_text())
        return set(plan["corpora"][corpus]["buckets"])

    @contextmanager
    def changed(self) -> Iterator[None]:
        """Whatever happens to the config, the captions and the rules inside is undone."""
        config, captions = json.dumps(self.config), (self.music / "captions.csv").read_bytes()
        try:
            yield
        finally:
            self.config = json.loads(config)
            (self.music / "captions.csv").write_bytes(captions)


def make_clip(path: Path, rng: np.random.Generator) -> Path:
    """Write 0.2 s of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, rng.normal(0, 0.1, RATE_HZ // 5).astype(np.float32), RATE_HZ)
    return path


def make_thousand(folder: Path, codec: Path) -> Thousand:
    small = make_project(folder, codec, num_tracks=0)
    shutil.rmtree(folder / "music", ignore_errors=True)
    project = Thousand(small.folder, small.config)
    project.config["corpora"]["mine"] = {
        "path": "music",
        "captions": ["captions.csv", "txt"],
        "num_buckets": NUM_BUCKETS,
    }
    project.config["data"] = {"min_duration_sec": 0.1}
    project.config["runs"] = {
        "base": {"corpora": ["mine"]},
        "slow": {"corpora": ["mine"], "training": {"learning_rate": 0.0001}},
    }
    project.make_music()
    return project


def bucket_jobs(rule: str, buckets: set[str], corpus: str = "mine") -> Jobs:
    return [(rule, f"corpus={corpus}, bucket={bucket}") for bucket in buckets]


def below_training(folders: list[str]) -> Jobs:
    return [(rule, f"run={folder}") for rule in BELOW_TRAINING for folder in folders]
