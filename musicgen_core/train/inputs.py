"""Digests of what a run reads while it trains: its corpora, the audio that it hears, frozen models in local folders.

Large files are not read at every start. A tar that a stage made has a receipt with its digest; others are remembered in
RUN/files.json by size, mtime and ctime.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from musicgen_core import native
from musicgen_core.config.plain import to_plain
from musicgen_core.train.job import TrainJob
from musicgen_core.util.atomic import write_json_if_changed
from musicgen_core.util.digest import digest_file, digest_json
from musicgen_core.util.receipt import read_receipt

NAME = "files.json"

READ = (".json", ".safetensors", ".txt", ".model", ".yaml")
"""Endings of what is read of a frozen model's folder: weights, config, tokenizer. Pickles never are."""


def digest_corpora(job: TrainJob) -> dict[str, dict[str, str]]:
    """Of manifests and token index, by corpus."""
    return {
        folder.name: {
            "train.jsonl": digest_file(folder / "train.jsonl"),
            "valid.jsonl": digest_file(folder / "valid.jsonl"),
            "index": digest_file(index),
        }
        for folder, index in zip(job.manifests, job.indexes, strict=True)
    }


def digest_others(job: TrainJob) -> dict[str, dict[str, str]]:
    """`audio`: of the tars of each corpus; `models`: of each frozen model in a local folder, by the key that names it.

    Without what a run has none of. Raises OSError naming a file that cannot be read.
    """
    memory = _Memory(job.run_dir / NAME)
    corpora: dict[str, list[Path]] = {}
    for path in sorted(job.audio):
        corpora.setdefault(path.parent.name, []).append(path)
    audio = {corpus: memory.digest({path.name: path for path in paths}) for corpus, paths in corpora.items()}
    models = {}
    for key, folder in _find_folders({"conditioner": to_plain(job.config.conditioner), **_conditions(job)}):
        files = sorted(path for path in folder.rglob("*") if path.suffix in READ and path.is_file())
        if files:  # of one that is not there, building the model says so
            models[key] = memory.digest({path.relative_to(folder).as_posix(): path for path in files})
    memory.save()
    return {name: found for name, found in (("audio", audio), ("models", models)) if found}


class _Memory:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.used: dict[str, Any] = {}
        try:
            self.known: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            self.known = {}

    def digest(self, files: dict[str, Path]) -> str:
        """Of files under these names."""
        found = self._digest_each(list(files.values()))
        return digest_json(dict(zip(files, found, strict=True)))

    def _digest_each(self, paths: Sequence[Path]) -> list[str]:
        digests = {path: _sealed(path) for path in paths}
        stamps = {path: _stamp(path) for path in paths if digests[path] is None}
        stale = [path for path, stamp in stamps.items() if self.known.get(str(path), {}).get("stamp") != stamp]
        for path, (digest, error) in zip(stale, native.hash_files(stale), strict=True):
            if digest is None:
                raise OSError(error)
            self.known[str(path)] = {"stamp": stamps[path], "digest": digest}
        self.used |= {str(path): self.known[str(path)] for path in stamps}
        return [digests[path] or self.known[str(path)]["digest"] for path in paths]

    def save(self) -> None:
        if self.used:
            write_json_if_changed(self.path, self.used)


def _sealed(path: Path) -> str | None:
    """The digest in its receipt, if it is as that says."""
    receipt = read_receipt(path)
    seal = receipt.outputs.get(path.name) if receipt else None
    stat = path.stat()
    unchanged = seal is not None and (stat.st_size, stat.st_mtime_ns) == (seal.num_bytes, seal.mtime_ns)
    return seal.digest if seal is not None and unchanged else None


def _stamp(path: Path) -> list[int]:
    """The last tells a file that was replaced under its old time."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _conditions(job: TrainJob) -> dict[str, Any]:
    return {f"model.conditions.{name}": to_plain(one) for name, one in job.config.model.conditions.items()}


def _find_folders(parts: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """(key, folder) of each local folder that plain values name; with a revision, `path` is a hub id instead."""
    for key, value in parts.items():
        if isinstance(value, dict):
            if isinstance(value.get("path"), str) and value.get("revision") is None:
                yield key, Path(value["path"])
            yield from _find_folders({f"{key}.{name}": one for name, one in value.items()})
