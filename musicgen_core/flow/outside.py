"""Digests of files that lie outside the results and that runs depend on: frozen models, recordings of prompts.

They are remembered by size, mtime and ctime in results/plan/outside.json, so that no dry run reads one twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from musicgen_core import native
from musicgen_core.config.prompt_files import find_recordings
from musicgen_core.config.root import RunConfig
from musicgen_core.util.atomic import write_json_if_changed
from musicgen_core.util.digest import digest_json
from musicgen_core.util.log import say

READ = (".json", ".safetensors", ".txt", ".model", ".yaml")
"""Endings of what is read of a frozen model's folder: weights, config, tokenizer. Pickles never are."""

NAME = "outside.json"


class OutsideDigests:
    """Digests by path. What was asked for is written down by `save`."""

    def __init__(self, path: Path) -> None:
        self.path, self.used = path, dict[str, Any]()
        try:
            self.known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.known = {}

    def find_files(self, paths: Sequence[Path]) -> list[str]:
        """Of files; only those that changed are read, in parallel. OSError names one that cannot be read."""
        stamps = {str(path): stamp(path) for path in paths}
        stale = [name for name, now in stamps.items() if self.known.get(name, {}).get("stamp") != now]
        for name, (digest, error) in zip(stale, native.hash_files([Path(n) for n in stale]), strict=True):
            if digest is None:
                raise OSError(error)
            self.known[name] = {"stamp": stamps[name], "digest": digest}
        self.used |= {name: self.known[name] for name in stamps}
        return [self.known[str(path)]["digest"] for path in paths]

    def find_folder(self, name: str) -> str:
        """Of a frozen model, by the names and bytes of what is read of it. A folder that is gone keeps the digest that
        it had; of one that never was there its name is all there is to know, and training says what is missing."""
        folder = Path(name)
        files = sorted(path for path in folder.rglob("*") if path.suffix in READ and path.is_file())
        key = f"{name}/"
        if files:
            digests = self.find_files(files)
            listed = {path.relative_to(folder).as_posix(): digest for path, digest in zip(files, digests, strict=True)}
            self.used[key] = {"digest": digest_json(listed)}
        elif key in self.known:
            say(f"plan: {name} is gone; runs that were trained with it keep what is known of it")
            self.used[key] = self.known[key]
        else:
            return name
        return self.used[key]["digest"]

    def save(self) -> None:
        if self.used:
            write_json_if_changed(self.path, {**self.known, **self.used})


def stamp(path: Path) -> list[int]:
    """Size, mtime and ctime: the last tells a file that was replaced under its old time."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def write_recordings(folder: Path, runs: dict[str, RunConfig]) -> None:
    """Write FOLDER/recordings/RUN.json, digests of the recordings that a run's prompts name, where there are any.

    Of runs with one that cannot be read nothing is written: whoever asks for their samples is told so.
    """
    digests = OutsideDigests(folder / NAME)
    for name, run in runs.items():
        try:
            found = find_recordings(run.generation)
            listed = digests.find_files([Path(path) for path in found])
        except (ValueError, OSError):
            continue
        if found:
            write_json_if_changed(folder / f"recordings/{name}.json", dict(zip(found, listed, strict=True)))
    digests.save()
