"""Which files under results the current config refers to, and which it does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from musicgen_core.data.splits import SPLITS
from musicgen_core.flow.living import TEMPORARY, is_leftover, name_trainer
from musicgen_core.flow.resolve import Flow
from musicgen_core.util.receipt import ENDING

CORPUS_FILES = (
    "inventory.jsonl",
    "rejected.jsonl",
    "rejected.digest",
    "words.digest",
    "metadata.jsonl",
    "notes.jsonl",
    "cache.jsonl",
    "files.list",
    "table.former",
    "table.rows",
    "snapshot.json",
)


@dataclass(frozen=True, order=True)
class Stray:
    """Something under results that no config refers to."""

    kind: str
    """leftover, audio, manifest, tokens, run, plan, log."""

    path: Path
    """A file, or a whole folder of a run or of a codec's tokens."""

    num_bytes: int
    checkpoints: bool = False
    """It holds checkpoints of a training."""

    trainer: str = ""
    """Who may still train in it; empty: nobody."""


def find_strays(flows: list[Flow]) -> list[Stray]:
    """List what none of the configs refers to; they share one folder of results. Reads names and sizes only."""
    results = Path(flows[0].results)
    strays = list(_find_leftovers(results))
    strays += _find_folders(results / "runs", {folder for flow in flows for folder in flow.runs}, "run")
    strays += _find_folders(results / "tokens", {flow.codec_name for flow in flows}, "tokens")
    used = {path for flow in flows for path in list_used(flow)}
    for kind in ("audio", "manifest", "tokens", "plan"):
        codecs = {flow.codec_name for flow in flows}
        for path in _walk(results / kind):
            if kind == "tokens" and path.relative_to(results / kind).parts[0] not in codecs:
                continue  # its whole folder is listed
            if path not in used and _owner(path) not in used and not TEMPORARY.match(path.name):
                strays.append(Stray(kind, path, path.stat().st_size))
    return sorted(strays)


def list_used(flow: Flow) -> set[Path]:
    """Every file but those of runs that the config refers to; receipts go with what they seal."""
    results, used = Path(flow.results), set()
    plan_dir = Path(flow.plan_dir)
    names = ("plan.json", "where.json", "codec.json", "runs.json", "sources.json", "padding.json", "upkeep.json")
    used |= {plan_dir / name for name in (*names, "outside.json")}
    for stage, name in flow.configs():
        used.add(plan_dir / "stages" / stage / f"{name}.json" if name else plan_dir / f"stages/{stage}.json")
    used |= {plan_dir / "recordings" / f"{run}.json" for run in flow.runs}
    trained = [path.parent.name for path in Path(flow.runs_dir).glob("*/config.json")]
    used |= {plan_dir / "facts" / f"{run}.json" for run in (*flow.runs, *trained)}
    for corpus, planned in flow.plan.corpora.items():
        used |= {plan_dir / corpus / name for name in CORPUS_FILES}
        used |= {plan_dir / corpus / "lists" / f"{name}.txt" for name in ("prepared", "audio", flow.codec_name)}
        used |= {results / "manifest" / corpus, *(results / f"manifest/{corpus}/{name}.jsonl" for name in MANIFESTS)}
        used |= {results / f"manifest/{corpus}/{split}.tracks" for split in SPLITS}
        used.add(Path(flow.tokens_dir) / corpus / "index.bin")
        for bucket in planned.buckets:
            used |= {plan_dir / corpus / f"buckets/{bucket}.txt", plan_dir / corpus / f"locations/{bucket}.json"}
            used |= {results / f"audio/{corpus}/{bucket}{ending}" for ending in (".tar", ".jsonl")}
            used.add(Path(flow.tokens_dir) / corpus / f"{bucket}.tar")
    return used


MANIFESTS = ("train", "valid", "evaluate", "generate", "rejected")


def _find_leftovers(results: Path) -> Iterator[Stray]:
    for path in _walk(results, folders=True):
        if is_leftover(path):
            yield Stray("leftover", path, _size(path))


def _find_folders(folder: Path, used: set[str], kind: str) -> list[Stray]:
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir() and not path.name.startswith(".") and path.name not in used:
            trainer = name_trainer(path) if kind == "run" else ""
            found.append(Stray(kind, path, _size(path), any(path.glob("checkpoints/*-*")), trainer))
    return found


def _owner(path: Path) -> Path | None:
    """What a receipt seals."""
    if path.name.startswith(".") and path.name.endswith(ENDING):
        return path.with_name(path.name.removeprefix(".").removesuffix(ENDING))
    return None


def _walk(folder: Path, folders: bool = False) -> Iterator[Path]:
    for root, names, files in os.walk(folder):
        here = Path(root)
        for name in list(names):
            if TEMPORARY.match(name):
                names.remove(name)
                if folders:
                    yield here / name
        yield from (here / name for name in sorted(files))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())
