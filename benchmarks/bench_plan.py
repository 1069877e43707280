"""How long a dry run takes at the scale of a lab: `python benchmarks/bench_plan.py --tracks 100000 --buckets 512`.

The corpus is a folder of tiny files, no two alike; what a scan would have read of them is put into the scan's cache, so
that the plan believes in tracks of three minutes and opens none. Measured are a dry run over everything with nothing
built, one with everything built and nothing changed, and one with a track added. Prints wall-clock and CPU seconds and
the peak memory of the process, and first a dry run of a few tracks: what Snakemake itself costs here in this run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from musicgen_core import native
from musicgen_core.data.scan import CACHE_VERSION

ROOT = Path(__file__).parents[1]
PER_FOLDER = 1000


def make_corpus(folder: Path, num_tracks: int, cache: Path) -> None:
    """Write the files, and the cache that a scan of real music would have left."""
    lines = [json.dumps({"version": CACHE_VERSION})]
    for number in range(num_tracks):
        if number % PER_FOLDER == 0:
            (folder / f"{number // PER_FOLDER:04d}").mkdir(parents=True)
        lines.append(make_track(folder, f"{number // PER_FOLDER:04d}/{number:07d}.flac", number))
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text("\n".join(sorted(lines[1:]) and [lines[0], *sorted(lines[1:])]) + "\n")


def make_track(folder: Path, name: str, number: int) -> str:
    data = f"{number:016d}".encode()
    (folder / name).write_bytes(data)
    stat = (folder / name).stat()
    tags = {
        "description": f"a piece of music, number {number}",
        "artist": f"artist {number // 10}",
        "license": "CC0-1.0",
    }
    facts = {"key": native.hash_bytes(data), "duration_sec": 180.0, "tags": tags}
    return json.dumps([name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, facts])


def make_project(folder: Path, num_tracks: int, num_buckets: int) -> None:
    shutil.copytree(ROOT / "workflow", folder / "workflow")
    make_corpus(folder / "music", num_tracks, folder / "results/plan/big/cache.jsonl")
    config = {
        "corpora": {"big": {"path": "music", "captions": "tags", "num_buckets": num_buckets}},
        "runs": {"base": {}},
    }
    (folder / "config.yaml").write_text(json.dumps(config))


def snakemake(folder: Path, *arguments: str) -> tuple[float, float, float, str]:
    """-> (wall-clock seconds, CPU seconds, peak GiB, output)."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = ["/usr/bin/env", sys.executable, "-m", "snakemake", "--cores", "1", "--scheduler", "greedy", *arguments]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        output.seek(0)
        text = output.read()
    if status:
        raise SystemExit(text[-3000:])
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return seconds, cpu, usage.ru_maxrss / 2**20, text


def finish(folder: Path) -> None:
    """Let all results be there: empty files, older than nothing."""
    shown = snakemake(folder, "--dry-run")[3]
    for line in re.findall(r"^    output: (.*)$", shown, re.MULTILINE):
        for name in line.split(", "):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    for run in (folder / "results/runs").iterdir():
        (run / "config.json").write_text("{}")
    snakemake(folder, "--touch", "--forceall")


def report(what: str, measured: tuple[float, float, float, str]) -> None:
    seconds, cpu, gib, text = measured
    jobs = re.search(r"^total +(\d+)$", text, re.MULTILINE)
    count = f"{jobs[1]} jobs" if jobs else "nothing to do"
    print(f"{what:<44} {seconds:7.1f} s wall {cpu:7.1f} s CPU {gib:6.2f} GiB  {count}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", type=int, default=100_000)
    parser.add_argument("--buckets", type=int, default=512)
    parser.add_argument("--folder", type=Path, help="keep the project here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = arguments.folder or Path(scratch)
        small, big = home / "small", home / "big"
        make_project(small, 90, 3)
        report("90 tracks, nothing built", snakemake(small, "--dry-run"))
        make_project(big, arguments.tracks, arguments.buckets)
        size = f"{arguments.tracks:,} tracks, {arguments.buckets} buckets"
        report(f"{size}: first plan", snakemake(big, "--dry-run"))
        report(f"{size}: nothing built", snakemake(big, "--dry-run"))
        finish(big)
        report(f"{size}: all built", snakemake(big, "--dry-run"))
        line = make_track(big / "music", "0000/new.flac", arguments.tracks)
        with open(big / "results/plan/big/cache.jsonl", "a") as cache:
            cache.write(line + "\n")
        report(f"{size}: one track added", snakemake(big, "--dry-run"))


if __name__ == "__main__":
    main()
