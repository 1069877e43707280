"""Dated records of a benchmark: `--record benchmarks/records` writes one JSON file that says on what it was measured.

A record names no host and no path: `{name}-{date}.json` holds the date, the machine (CPU model, cores, memory), the
versions of what was compared, the number of the commit, and the figures.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("musicgen-core", "numpy", "torch", "webdataset", "soundfile", "julius", "av", "sphn", "torchcodec")


def add_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="write a dated JSON record there")


def write(arguments: argparse.Namespace, name: str, figures: dict[str, Any]) -> None:
    """Write the record if it was asked for. `figures` are medians, ratios and what else is a number or a name."""
    if arguments.record is None:
        return
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    record = {"name": name, "date": today, "machine": machine(), "versions": versions(), "commit": commit(), **figures}
    arguments.record.mkdir(parents=True, exist_ok=True)
    path = arguments.record / f"{name}-{today}.json"
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"recorded: {path}")


def machine() -> dict[str, Any]:
    lines = _read("/proc/cpuinfo").splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    memory = next((line.split()[1] for line in _read("/proc/meminfo").splitlines() if line.startswith("MemTotal")), "0")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory) / 2**20, 1),
        "architecture": platform.machine(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Number of the commit, with a plus when files differ from it; None outside a repository."""
    here = Path(__file__).parent
    described = ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    done = subprocess.run(described, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
