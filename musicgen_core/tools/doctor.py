"""`musicgen doctor`: what is installed, what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path

PACKAGES = (
    "torch", "torchaudio", "transformers", "encodec", "snakemake", "snakemake-executor-plugin-slurm",
    "submitit", "webdataset", "numpy", "safetensors",
)  # fmt: skip


def run() -> int:
    """Print one line per thing looked at; the exit status is 1 when something needed is missing."""
    problems: list[str] = []
    print(f"musicgen-core  {_version('musicgen-core') or 'not installed'}")
    print(f"python         {platform.python_version()} on {platform.system()} {platform.machine()}")
    print(f"processors     {len(os.sched_getaffinity(0))} usable, {_memory_gib():.0f} GiB of memory")
    for name in PACKAGES:
        version = _version(name)
        print(f"{name:<14} {version or 'MISSING'}" if len(name) < 15 else f"{name} {version or 'MISSING'}")
        if version is None:
            problems.append(f"{name} is missing: run `make setup`")
    problems += [*_extension(), *_torch(), *_torchaudio()]
    for program, purpose in {
        "cargo": "building the extension (install with rustup)",
        "c++": "building the extension (apt-get install build-essential)",
        "sbatch": "--profile slurm only",
        "dot": "`make dag` only (apt-get install graphviz)",
    }.items():
        print(f"{program:<14} {shutil.which(program) or f'not found; needed for {purpose}'}")
    for problem in problems:
        print(f"PROBLEM: {problem}", file=sys.stderr)
    print("all needed parts are here" if not problems else f"{len(problems)} problem(s)")
    return 1 if problems else 0


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _extension() -> list[str]:
    try:
        from musicgen_core import native

        native.hash_bytes(b"")
    except ImportError as error:
        print("rust_loader    MISSING")
        return [f"the compiled extension does not load ({error}): run `make build`"]
    built = next(Path(__file__).parent.parent.glob("_rust_loader*.so"), None)
    print(f"rust_loader    {built.name if built else 'loaded'}")
    return []


def _torch() -> list[str]:
    try:
        import torch
    except (ImportError, OSError) as error:
        return [f"torch does not load ({error}): run `make setup`"]
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(number)
            print(f"gpu {number}          {device.name}, {device.total_memory / 2**30:.0f} GiB")
    else:
        print("gpu            none; training runs on the processors")
    return []


def _torchaudio() -> list[str]:
    """torchaudio refuses a torch of another CUDA version on import, and takes parts of transformers with it."""
    try:
        import torchaudio  # noqa: F401
    except ModuleNotFoundError:
        return []
    except (ImportError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        return [
            f"torchaudio {_version('torchaudio')} does not fit torch {_version('torch')} ({reason}): "
            "install the pair of requirements.lock with `make setup`"
        ]
    return []
