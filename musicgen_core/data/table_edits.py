"""Which row of a corpus's table of captions belongs to which track: kept beside the plan, so that an edited table is
compared with the last one line by line, and only the lines that differ are parsed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_core.data.table import Table, has_a_line_per_row, is_whole, read_row, split_lines
from musicgen_core.util.atomic import write_text

FORMER = "table.former"
"""The table's text when it was last read."""

ROWS = "table.rows"
"""For each line of it the path of the audio file that got this row, or null; and whether all rows name whole
paths, and all audio paths are in one Unicode form."""

SMALL_PART = 10
"""Compared are tables of which at most one line in so many changed."""


@dataclass(frozen=True)
class TableEdits:
    """A table, and what changed in it."""

    path: Path
    rows: dict[str, dict[str, Any]]
    """Audio path -> normalised fields, of rows that changed or came."""

    left: set[str]
    """Paths of rows that left."""

    text: str
    """The table now."""

    paths: list[str | None]
    """Audio path of each line now."""

    whole: bool
    """Whether each row names, by its whole path, the audio file that it belongs to: files without a row, in Unicode
    form NFC like all others, may then come and go, and no row will fit another file."""

    def add_rows(self, wanted: Iterable[str]) -> bool:
        """Parse the rows of more audio files, of those of `wanted` that have one; False if one is not sound alone."""
        lines = {path: line for line, path in enumerate(self.paths) if path is not None}
        texts = split_lines(self.path, self.text)
        for path in wanted:
            if path in lines and path not in self.rows:
                row = read_row(self.path, texts[0], texts[lines[path]])
                if row is None:
                    return False
                self.rows[path] = row[1]
        return True

    def keep(self, folder: Path) -> None:
        _write(folder, self.text, self.paths, self.whole)


def keep_table(folder: Path, tables: list[Table]) -> None:
    """Write down what the only table of a corpus said; nothing of several, or of one with cells of many lines."""
    if len(tables) != 1 or not has_a_line_per_row(tables[0]):
        for name in (FORMER, ROWS):
            (folder / name).unlink(missing_ok=True)
        return
    (table,) = tables
    paths: list[str | None] = [None] * len(split_lines(table.path, table.text))
    for path, line in table.lines.items():
        paths[line - 1] = path
    whole = table.is_nfc and all(table.lines.get(written) == line for written, (line, _) in table.rows.items())
    _write(folder, table.text, paths, whole)


def _write(folder: Path, text: str, paths: list[str | None], whole: bool) -> None:
    write_text(folder / ROWS, json.dumps({"whole": whole, "paths": paths}))
    write_text(folder / FORMER, text)


def read_table_as_kept(folder: Path, path: Path) -> TableEdits | None:
    """A table that did not change since it was kept; None if it was not kept."""
    try:
        text = (folder / FORMER).read_text(encoding="utf-8")
        kept = json.loads((folder / ROWS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return TableEdits(path, {}, set(), text, kept["paths"], kept["whole"])


def find_edits(folder: Path, path: Path, has_copies: bool, has_numbers: bool) -> TableEdits | None:
    """What changed since the table was kept.

    None where only a look at all rows tells: an unsound line; many changes; with copies among the music (`has_copies`),
    whose words decide which is used, a row that does not name its file by its whole path; rows that came, left or moved
    while not all name whole paths, or while notes give numbers of lines (`has_numbers`).
    """
    kept = read_table_as_kept(folder, path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        return None
    if kept is None:
        return None
    before, after = split_lines(path, kept.text), split_lines(path, text)
    if path.suffix.lower() != ".jsonl" and before[:1] != after[:1]:
        return None
    edits = _find_edited_rows(kept, before, after, text, has_copies)
    if edits is None and kept.whole and not has_numbers:
        edits = _find_rows_that_came_and_left(kept, before, after, text)
    return edits


def _find_edited_rows(
    kept: TableEdits, before: list[str], after: list[str], text: str, has_copies: bool
) -> TableEdits | None:
    """Rows that say other things of the same files, on the same lines."""
    if len(before) != len(after):
        return None
    lines = [line for line, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    if len(lines) * SMALL_PART > len(before):
        return None
    was = _read_rows(kept.path, before[:1], [before[line] for line in lines])
    now = _read_rows(kept.path, after[:1], [after[line] for line in lines])
    if was is None or now is None or list(was) != list(now):
        return None
    owners = {written: kept.paths[line] for written, line in zip(was, lines, strict=True)}
    if has_copies and any(owner != written for written, owner in owners.items()):
        return None
    rows = {owner: now[written] for written, owner in owners.items() if owner is not None}
    return TableEdits(kept.path, rows, set(), text, kept.paths, kept.whole)


def _find_rows_that_came_and_left(
    kept: TableEdits, before: list[str], after: list[str], text: str
) -> TableEdits | None:
    """Where all rows name whole paths, their order tells nothing: lines are compared as sets."""
    owners, there = dict(zip(before, kept.paths, strict=True)), set(after)
    left = [line for line in before if line not in there]
    came = [line for line in after if line not in owners]
    if len(there) < len(after) or max(len(left), len(came)) * SMALL_PART > len(before):
        return None
    was, now = _read_rows(kept.path, before[:1], left), _read_rows(kept.path, after[:1], came)
    if was is None or now is None:
        return None
    if not all(map(is_whole, now)):  # another file's path may be the same, in another form
        return None
    if not now.keys().isdisjoint(owner for line, owner in owners.items() if owner is not None and line in there):
        return None
    owners |= dict(zip(came, now, strict=True))
    return TableEdits(kept.path, now, was.keys() - now.keys(), text, [owners[line] for line in after], whole=True)


def _read_rows(path: Path, header: list[str], lines: list[str]) -> dict[str, dict[str, Any]] | None:
    """What lines say, by the file as written; None unless each is a sound row and they name different files."""
    rows = [row for line in lines if (row := read_row(path, header[0], line)) is not None]
    named = dict(rows)
    return named if len(named) == len(lines) else None
