"""A JSON Lines file whose lines are sorted by a key: a line is found by halving, and a few are replaced by copying the
rest as it is. Neither parses the other lines, so the time hardly grows with their number."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from musicgen_core.util.atomic import atomic_open


class SortedLines:
    """An open file. Keys are strings, no two alike; a first line with a version (`header`) has none."""

    def __init__(self, path: Path, key: Callable[[Any], str], header: bool = False) -> None:
        """Raises OSError when the file cannot be read."""
        self.path = path
        self._key = key
        with open(path, "rb") as handle:
            empty = not handle.read(1)
            self._data: Any = b"" if empty else mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        self._first = self._data.find(b"\n") + 1 if header else 0

    def header(self) -> Any:
        return json.loads(self._data[: self._first])

    def find(self, key: str) -> Any | None:
        """The parsed line of a key, or None. Raises ValueError when a line on the way is no JSON."""
        start, end = self._locate(key)
        return json.loads(self._data[start:end]) if end > start else None

    def splice(self, edits: dict[str, str | None]) -> None:
        """Write the file anew with the lines of some keys replaced, added, or (None) left out; nothing without edits.

        What is open stays as it was.
        """
        if not edits:
            return
        places = sorted((*self._locate(key), key) for key in edits)
        with memoryview(self._data) as data, atomic_open(self.path, "wb") as out:
            reached = 0
            for start, end, key in places:
                out.write(data[reached:start])
                line = edits[key]
                if line is not None:
                    out.write(line.encode() + b"\n")
                reached = end
            out.write(data[reached:])

    def first_with(self, text: str, count: int) -> list[Any]:
        """The first lines that hold a text, parsed."""
        found: list[Any] = []
        at = self._first
        while len(found) < count and (hit := self._data.find(text.encode(), at)) >= 0:
            start, at = self._line(hit, self._first, len(self._data))
            found.append(json.loads(self._data[start:at]))
        return found

    def first(self, count: int) -> list[Any]:
        with open(self.path, encoding="utf-8") as handle:
            return [json.loads(line) for line in islice(handle, count)]

    def _locate(self, key: str) -> tuple[int, int]:
        """Where the line of a key is; start and end are equal where it would be."""
        low, high = self._first, len(self._data)
        while low < high:
            start, end = self._line((low + high) // 2, low, high)
            here = self._key(json.loads(self._data[start:end]))
            if here == key:
                return start, end
            if here < key:
                low = end
            else:
                high = start
        return low, low

    def _line(self, inside: int, low: int, high: int) -> tuple[int, int]:
        """Start and end of the line around a byte, between two starts of lines."""
        start = max(self._data.rfind(b"\n", low, inside) + 1, low)
        end = self._data.find(b"\n", inside, high) + 1
        return start, end or high
