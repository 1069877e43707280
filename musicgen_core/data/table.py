"""A CSV or JSON Lines table with one row per track."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from musicgen_core.data.metadata import read_music

FILE_COLUMNS = ("file", "filename", "file_name", "path", "audio", "audio_path")
"""Columns that may name the audio file; without any of them the first column does."""


@dataclass
class Table:
    """A table and what it says of each file."""

    path: Path
    rows: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    """File as written -> (line number, normalised fields)."""

    problems: list[tuple[int, str]] = field(default_factory=list)
    """(line number, what is wrong with it)."""

    text: str = ""
    """As it was read."""

    lines: dict[str, int] = field(default_factory=dict)
    """Audio path -> number of the line that the last match gave it."""

    is_nfc: bool = True
    """Whether all paths of the last match are in Unicode form NFC, so that no two of them fold onto one."""

    def match(self, paths: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Find the row of each audio path: by relative path, else by name, else by name without its ending.

        A name that fits several files fits none. Rows that match no file become problems.
        """
        paths = list(paths)
        found: dict[str, dict[str, Any]] = {}
        self.lines = {}
        self.is_nfc = all(is_whole(path) for path in paths)
        lookups = [_unique(paths, key) for key in (_whole, _name, _stem)]
        for written, (line, music) in self.rows.items():
            candidates = (lookup.get(key(written)) for lookup, key in zip(lookups, (_whole, _name, _stem), strict=True))
            path = next((p for p in candidates if p is not None), None)
            if path is None:
                self.problems.append((line, f"{written!r} matches no audio file"))
            elif path in found:
                self.problems.append((line, f"{written!r} matches {path!r}, which has a row already"))
            else:
                found[path] = music
                self.lines[path] = line
        return found


def read_table(path: Path) -> Table:
    """Read a .csv, .tsv or .jsonl table.

    Raises ValueError with the file's name when it cannot be read as a whole; a bad row becomes a problem of the table.
    """
    table = Table(path)
    if path.suffix.lower() not in (".csv", ".tsv", ".jsonl"):
        raise ValueError(f"captions: {path.name!r} is neither json, txt or tags nor a table (.csv, .tsv, .jsonl)")
    try:
        table.text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such table; correct `captions`") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
    for line, row in _read_jsonl(table) if path.suffix.lower() == ".jsonl" else _read_csv(path, table.text):
        _add_row(table, line, row)
    return table


def split_lines(path: Path, text: str) -> list[str]:
    """The lines of a table, with their ends."""
    return text.splitlines(keepends=True) if path.suffix.lower() != ".jsonl" else text.split("\n")


def has_a_line_per_row(table: Table) -> bool:
    """Whether no cell of a table reaches over the end of its line."""
    if table.path.suffix.lower() == ".jsonl":
        return True
    lines = split_lines(table.path, table.text)
    try:
        return sum(1 for _ in csv.reader(lines, delimiter=_delimiter(table.path), strict=True)) == len(lines)
    except csv.Error:  # such as a quote that the last line opens: a line added after it belongs to that cell
        return False


def read_row(path: Path, header: str, line: str) -> tuple[str, dict[str, Any]] | None:
    """File as written and normalised fields of one line of a table; None unless it is one sound row, and whole."""
    table = Table(path, text=line)
    if path.suffix.lower() == ".jsonl":
        rows = [row for _, row in _read_jsonl(table)]
    else:
        try:
            rows = list(csv.DictReader([header, line], delimiter=_delimiter(path), strict=True))
        except csv.Error:
            return None
    for row in rows:
        _add_row(table, 1, row)
    if len(rows) != 1 or table.problems:
        return None
    ((written, (_, music)),) = table.rows.items()
    return written, music


def _add_row(table: Table, line: int, row: dict[str, Any]) -> None:
    named = {str(name).strip().lower(): value for name, value in row.items() if name is not None}
    column = next((c for c in FILE_COLUMNS if c in named), next(iter(named), None))
    written = str(named.get(column) or "").strip() if column else ""
    if not written:
        table.problems.append((line, f"no file name in column {column!r}"))
    elif written in table.rows:
        table.problems.append((line, f"{written!r} is named a second time (first on line {table.rows[written][0]})"))
    elif None in row:
        table.problems.append((line, "more cells than columns; put text with commas in double quotes"))
    else:
        try:
            table.rows[written] = (line, read_music({k: v for k, v in named.items() if k != column}))
        except ValueError as error:
            table.problems.append((line, str(error)))


def _read_csv(path: Path, text: str) -> Iterable[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(split_lines(path, text), delimiter=_delimiter(path))
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _read_jsonl(table: Table) -> Iterable[tuple[int, dict[str, Any]]]:
    for line, piece in enumerate(split_lines(table.path, table.text), 1):
        if not piece.strip():
            continue
        try:
            row = json.loads(piece)
        except json.JSONDecodeError as error:
            table.problems.append((line, f"not JSON ({error.msg})"))
            continue
        if isinstance(row, dict):
            yield line, row
        else:
            table.problems.append((line, f"expected a JSON object, found {type(row).__name__}"))


def _unique(paths: list[str], key: Any) -> dict[str, str | None]:
    """Index paths by a key; a key that several share leads to None."""
    index: dict[str, str | None] = {}
    for path in paths:
        index[key(path)] = None if key(path) in index else path
    return index


def is_whole(written: str) -> bool:
    """Whether a name, if a path is written so, can be that path's alone: in Unicode form NFC, and not from "./"."""
    return _whole(written) == written


def _whole(path: str) -> str:
    return unicodedata.normalize("NFC", path.removeprefix("./"))


def _name(path: str) -> str:
    return PurePosixPath(_whole(path)).name


def _stem(path: str) -> str:
    return PurePosixPath(_whole(path)).stem
