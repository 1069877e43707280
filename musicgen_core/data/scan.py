"""Remember what was read of each file for as long as the file stays the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from musicgen_core.native import FoundFile
from musicgen_core.util.atomic import write_text_if_changed

CACHE_VERSION = 1
"""Raise it when what is remembered of a file changes its form or meaning."""

AT_ONCE = 1000
"""Lines parsed in one call, which share the strings of their keys: a third less memory than line by line."""


class StatCache:
    """What was read of each file: path -> (size, mtime, ctime, JSON value). One line per file in a JSON Lines file.

    The cache only ever saves work: without it, or with a damaged one, everything is read again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, list[Any]] = {}
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            if json.loads(lines[0]) == {"version": CACHE_VERSION}:
                for start in range(1, len(lines), AT_ONCE):
                    for line in json.loads(f"[{','.join(lines[start : start + AT_ONCE])}]"):
                        self.entries[line[0]] = line[1:]
        except (OSError, ValueError, IndexError, KeyError, TypeError):
            self.entries = {}

    def entry(self, path: str) -> list[Any] | None:
        """Size, mtime, ctime and value of a path, whether or not the file has changed since."""
        return self.entries.get(path)

    def facts(self, path: str) -> Any:
        """What is remembered of a path that is known to be there."""
        entry = self.entry(path)
        assert entry is not None
        return entry[3]

    def get(self, found: FoundFile) -> Any | None:
        """Return what was remembered, or None when the file is new or changed."""
        entry = self.entry(found.path)
        if entry is None or entry[:3] != [found.size, found.mtime_ns, found.ctime_ns]:
            return None
        return entry[3]

    def put(self, found: FoundFile, value: Any) -> None:
        self.entries[found.path] = [found.size, found.mtime_ns, found.ctime_ns, value]

    def save(self, paths: set[str]) -> None:
        """Write the cache, with only the given paths, if it changed."""
        lines = [json.dumps({"version": CACHE_VERSION}) + "\n"]
        lines += [self.line(path) + "\n" for path in sorted(paths & self.entries.keys())]
        text = "".join(lines)
        del lines
        write_text_if_changed(self.path, text)

    def line(self, path: str) -> str:
        return json.dumps([path, *self.entries[path]])
