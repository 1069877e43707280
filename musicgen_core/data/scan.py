"""Walk a folder of music, and remember what was read of each file for as long as the file stays the same."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_core.util.atomic import write_text

CACHE_VERSION = 1
"""Raise it when what is remembered of a file changes its form or meaning."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file and the three figures that tell whether it is still the same; ctime also catches `cp -p`, `rsync -a`."""

    path: str
    """Relative to the corpus folder, with forward slashes."""

    size: int
    """Bytes; -1 for a link that leads nowhere."""

    mtime_ns: int
    ctime_ns: int

    @property
    def suffix(self) -> str:
        """The ending, in lower case, with its dot."""
        return os.path.splitext(self.path)[1].lower()

    @property
    def stem(self) -> str:
        """The path without its ending: what an audio file shares with its sidecars."""
        return os.path.splitext(self.path)[0]


def walk(folder: Path, skip: Path | None = None) -> list[FoundFile]:
    """List all files under a folder, sorted by path.

    Hidden files and folders (.DS_Store, ._song.mp3) are not music and left out, as is the folder `skip`. Links to
    folders are followed; a folder that was already visited is not visited again, so a loop of links ends.
    """
    skipped = _identity(skip) if skip is not None else None
    visited: set[tuple[int, int]] = set()
    return sorted(_walk(str(folder), "", visited, skipped), key=lambda found: found.path)


def _walk(
    folder: str, prefix: str, visited: set[tuple[int, int]], skipped: tuple[int, int] | None
) -> Iterator[FoundFile]:
    identity = _identity(folder)
    if identity is None or identity in visited or (prefix and identity == skipped):
        return
    visited.add(identity)
    with os.scandir(folder) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = prefix + entry.name
        if entry.is_dir():
            yield from _walk(entry.path, path + "/", visited, skipped)
        else:
            try:
                stat = entry.stat()
            except OSError:
                yield FoundFile(path, -1, 0, 0)
            else:
                yield FoundFile(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _identity(folder: str | Path) -> tuple[int, int] | None:
    try:
        stat = os.stat(folder)
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


class StatCache:
    """What was read of each file: path -> (size, mtime, ctime, JSON value). One line per file in a JSON Lines file.

    The cache only ever saves work: without it, or with a damaged one, everything is read again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = ""
        self.entries: dict[str, list[Any]] = {}
        try:
            self.text = path.read_text(encoding="utf-8")
            lines = [json.loads(line) for line in self.text.splitlines()]
            if lines[0] == {"version": CACHE_VERSION}:
                self.entries = {line[0]: line[1:] for line in lines[1:]}
        except (OSError, ValueError, IndexError, KeyError, TypeError):
            self.entries = {}

    def get(self, found: FoundFile) -> Any | None:
        """Return what was remembered, or None when the file is new or changed."""
        entry = self.entries.get(found.path)
        if entry is None or entry[:3] != [found.size, found.mtime_ns, found.ctime_ns]:
            return None
        return entry[3]

    def put(self, found: FoundFile, value: Any) -> None:
        self.entries[found.path] = [found.size, found.mtime_ns, found.ctime_ns, value]

    def save(self, paths: set[str]) -> None:
        """Write the cache, with only the given paths, if it changed."""
        lines = [json.dumps({"version": CACHE_VERSION})]
        lines += [json.dumps([path, *self.entries[path]]) for path in sorted(paths & self.entries.keys())]
        text = "\n".join(lines) + "\n"
        if text != self.text:
            write_text(self.path, text)
            self.text = text
