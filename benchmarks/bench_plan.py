"""How long a dry run takes at the scale of a lab: `python benchmarks/bench_plan.py --tracks 100000 --buckets 512`.

The corpus is a folder of tiny files, no two alike; what a scan would have read of them is put into the scan's cache, so
that the plan believes in tracks of three minutes and opens none; one is a real wav, to be touched. Measured are dry
runs: the first plan, then with nothing changed, one track touched, one added; `--built`: the same when all results are
there. `--table`: the words stand in a table of captions, of which a row is edited. `--other-buckets 128 2048`: the same
corpus in other numbers of buckets, as first seen and with nothing changed. Prints wall-clock and CPU seconds (user and
system, all threads) and the peak memory of the process, and first a dry run of a few tracks: what Snakemake itself
costs here in this run.
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
import wave
from pathlib import Path
from typing import Any

import record

from musicgen_core import native
from musicgen_core.data.scan import CACHE_VERSION

ROOT = Path(__file__).parents[1]
PER_FOLDER = 1000
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Compiled modules are kept, as they are for a user: to compile Snakemake's anew costs as much as to run it."""


def make_corpus(folder: Path, num_tracks: int, cache: Path) -> None:
    """Write the files, and the cache that a scan of real music would have left."""
    lines = [json.dumps({"version": CACHE_VERSION})]
    for number in range(num_tracks):
        if number % PER_FOLDER == 0:
            (folder / f"{number // PER_FOLDER:04d}").mkdir(parents=True)
        lines.append(make_track(folder, f"{number // PER_FOLDER:04d}/{number:07d}.flac", number))
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text("\n".join([lines[0], *sorted(lines[1:])]) + "\n")
    make_wav(folder / "real.wav", 1)


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


def make_wav(path: Path, value: int) -> None:
    """Write 3 s of a constant."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(value.to_bytes(2, "little") * 24000)


def make_project(folder: Path, num_tracks: int, num_buckets: int, table: bool = False) -> None:
    shutil.copytree(ROOT / "workflow", folder / "workflow")
    make_corpus(folder / "music", num_tracks, folder / "results/plan/big/cache.jsonl")
    if table:
        write_table(folder, num_tracks, "")
    write_config(folder, num_buckets, ["captions.csv", "tags"] if table else ["tags"])


def write_config(folder: Path, num_buckets: int, captions: list[str]) -> None:
    config = {
        "corpora": {"big": {"path": "music", "captions": captions, "num_buckets": num_buckets}},
        "runs": {"base": {}},
    }
    (folder / "config.yaml").write_text(json.dumps(config))


def write_table(folder: Path, num_tracks: int, more: str) -> None:
    """Write a row per file; `more` words stand in one of them."""
    with open(folder / "music/captions.csv", "w") as out:
        out.write("file,description,genre\n")
        for number in range(num_tracks):
            words = f"words about number {number}, by somebody{more if number == num_tracks // 2 else ''}"
            out.write(f'{number // PER_FOLDER:04d}/{number:07d}.flac,"{words}",jazz\n')


def snakemake(folder: Path, *arguments: str) -> tuple[float, float, float, str]:
    """-> (wall-clock seconds, CPU seconds, peak GiB, output)."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = ["/usr/bin/env", sys.executable, "-m", "snakemake", "--cores", "1", "--scheduler", "greedy", *arguments]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=output, stderr=output)
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


def measure(what: str, folder: Path, rows: list[dict[str, Any]]) -> None:
    seconds, cpu, gib, text = snakemake(folder, "--dry-run")
    jobs = re.search(r"^total +(\d+)$", text, re.MULTILINE)
    row = {"dry_run": what, "wall_sec": seconds, "cpu_sec": cpu, "peak_gib": gib, "jobs": int(jobs[1]) if jobs else 0}
    rows.append({name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()})
    print(f"{what:<40} {seconds:7.1f} s wall {cpu:7.1f} s CPU {gib:6.2f} GiB {row['jobs']:>6} jobs", flush=True)


def measure_changes(folder: Path, state: str, number: int, rows: list[dict[str, Any]], num_rows: int) -> None:
    measure(f"{state}, nothing changed", folder, rows)
    if num_rows:
        write_table(folder, num_rows, f" else, {number}")
        measure(f"{state}, one row edited", folder, rows)
    os.utime(folder / "music/real.wav")
    measure(f"{state}, one touched", folder, rows)
    make_wav(folder / f"music/0000/added {number}.wav", number)
    measure(f"{state}, one added", folder, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", type=int, default=100_000)
    parser.add_argument("--buckets", type=int, default=512)
    parser.add_argument("--built", action="store_true", help="measure with all results there too")
    parser.add_argument("--table", action="store_true", help="words in a table of captions")
    parser.add_argument("--other-buckets", type=int, nargs="*", default=[], help="numbers of buckets to compare with")
    parser.add_argument("--folder", type=Path, help="make the project here and keep it")
    record.add_flag(parser)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        home = arguments.folder or Path(scratch)
        small, big = home / "small", home / "big"
        make_project(small, 90, 3)
        snakemake(small, "--dry-run")  # compiles modules
        measure("90 tracks, 3 buckets", small, rows)
        make_project(big, arguments.tracks, arguments.buckets, arguments.table)
        num_rows = arguments.tracks if arguments.table else 0
        print(f"{arguments.tracks:,} tracks, {arguments.buckets:,} buckets:")
        measure("first plan", big, rows)
        measure_changes(big, "nothing built", 2, rows, num_rows)
        if arguments.built:
            finish(big)
            measure_changes(big, "all built", 3, rows, num_rows)
        for count in arguments.other_buckets:
            write_config(big, count, ["captions.csv", "tags"] if arguments.table else ["tags"])
            for state in ("as first seen", "nothing changed"):
                measure(f"{count} buckets, {state}", big, rows)
    figures = {"tracks": arguments.tracks, "buckets": arguments.buckets, "dry_runs": rows}
    record.write(arguments, f"plan{'-table' if arguments.table else ''}-{arguments.tracks}", figures)


if __name__ == "__main__":
    main()
