"""Receipts: what a stage left behind, from which inputs, with which config; one hidden JSON file beside each output.

    results/tokens/CODEC/CORPUS/00003-of-00016.tar
    results/tokens/CODEC/CORPUS/.00003-of-00016.tar.made.json

They tell whether a result is still what the stage wrote, and what it was made from when Snakemake's own memory is lost.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from musicgen_core import native
from musicgen_core.util.atomic import write_json

FORMAT = 1
ENDING = ".made.json"


@dataclass(frozen=True, kw_only=True)
class Seal:
    """A file's identity. The time only spares reading the file again."""

    num_bytes: int
    mtime_ns: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What made one output, a file or a folder."""

    stage: str
    stage_version: int
    config: Any
    """The stage's part of the config, as JSON values."""

    inputs: dict[str, str]
    """Path of each declared input, as the command was given it -> digest; folders count file by file."""

    outputs: dict[str, Seal]
    """File name, relative to the folder of the receipt -> its identity."""

    seconds: float
    """Of wall-clock time that the command took."""


def receipt_path(output: Path) -> Path:
    return output.with_name(f".{output.name}{ENDING}")


def write_receipt(output: Path, stage: str, version: int, config: Any, inputs: dict[str, str], seconds: float) -> None:
    """Seal `output`, which is a file or a folder, as the stage has just left it."""
    files = list_files(output)
    outputs = {p.relative_to(output.parent).as_posix(): _seal(p) for p in files}
    receipt = Receipt(
        stage=stage, stage_version=version, config=config, inputs=inputs, outputs=outputs, seconds=round(seconds, 3)
    )
    write_json(receipt_path(output), {"format": "musicgen_core receipt", "version": FORMAT, **asdict(receipt)})


def read_receipt(output: Path) -> Receipt | None:
    """The receipt of a file or folder; None without one. A damaged receipt is none: it seals nothing."""
    try:
        value = json.loads(receipt_path(output).read_text(encoding="utf-8"))
        if value.pop("version") != FORMAT or value.pop("format") != "musicgen_core receipt":
            return None
        outputs = {name: Seal(**seal) for name, seal in value.pop("outputs").items()}
        return Receipt(outputs=outputs, **value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def list_files(path: Path) -> list[Path]:
    """The file itself, or all files of a folder but hidden ones, sorted."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))


def check_inputs(paths: list[Path]) -> dict[str, str]:
    """Digests of a command's inputs, by path.

    Raises ValueError, with the path, what differs and the remedy, for a file that is not as its stage left it: cut
    short, or altered by hand. Only files whose size or time changed are read again.
    """
    digests: dict[str, str] = {}
    seals: dict[Path, dict[str, Seal]] = {}
    unsealed: list[Path] = []
    for path in [file for given in paths for file in list_files(given) if file.is_file() or not given.exists()]:
        seal = _find_seal(path, seals)
        if seal is None:
            unsealed.append(path)
        else:
            if difference := compare(path, seal):
                raise ValueError(f"{path}: {difference}; delete it and start snakemake again")
            digests[str(path)] = seal.digest
    for path, (digest, error) in zip(unsealed, native.hash_files(unsealed), strict=True):
        if digest is None:
            raise OSError(error)
        digests[str(path)] = digest
    return digests


def compare(path: Path, seal: Seal, thorough: bool = False) -> str | None:
    """Say how a file differs from its seal; None when it does not. `thorough`: read it though its time is the same."""
    try:
        stat = path.stat()
    except OSError:
        return "is gone"
    if stat.st_size != seal.num_bytes:
        return f"has {stat.st_size} bytes, but {seal.num_bytes} were written: it was cut short or altered"
    if (thorough or stat.st_mtime_ns != seal.mtime_ns) and native.hash_file(path) != seal.digest:
        return f"its {stat.st_size} bytes are not those that were written: it was altered"
    return None


def find_change(path: Path) -> str | None:
    """Read a file and say how it differs from what its stage wrote; None when it does not, or nothing seals it."""
    seal = _find_seal(path, {})
    return None if seal is None else compare(path, seal, thorough=True)


def _find_seal(path: Path, known: dict[Path, dict[str, Seal]]) -> Seal | None:
    """By the file's own receipt, or by that of the folder it is in."""
    for owner in (path, path.parent, path.parent.parent):
        if owner not in known:
            receipt = read_receipt(owner)
            known[owner] = receipt.outputs if receipt else {}
        seal = known[owner].get(path.relative_to(owner.parent).as_posix())
        if seal is not None:
            return seal
    return None


def _seal(path: Path) -> Seal:
    stat = path.stat()
    return Seal(num_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns, digest=native.hash_file(path))
