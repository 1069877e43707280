"""Which row of a corpus's table of captions belongs to which track: kept beside the plan, so that an edited table is
compared with the last one line by line, and only the lines that differ are parsed."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
    """What changed in a table."""

    rows: dict[str, dict[str, Any]]
    """Audio path -> normalised fields, of rows that changed or came."""

    came: set[str]
    """Paths of rows that came."""

    left: set[str]
    """Paths of rows that left."""

    text: str
    """The table now."""

    paths: list[str | None]
    """Audio path of each line now."""

    whole: bool

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


def find_edits(folder: Path, path: Path, has_copies: bool, has_notes: bool) -> TableEdits | None:
    """What changed since the table was kept.

    None where only a look at all rows tells: an unsound line; many changes; with copies among the music (`has_copies`),
    whose words decide which is used, a row that does not name its file by its whole path; rows that came, left or moved
    while not all name whole paths, or while notes name lines (`has_notes`).
    """
    try:
        former = (folder / FORMER).read_text(encoding="utf-8")
        kept = json.loads((folder / ROWS).read_text(encoding="utf-8"))
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        return None
    paths: list[str | None] = kept["paths"]
    before, after = split_lines(path, former), split_lines(path, text)
    old_lines, new_lines = _compare(before, after)
    has_header = path.suffix.lower() != ".jsonl"
    if max(len(old_lines), len(new_lines)) * SMALL_PART > len(before) or (has_header and 0 in (*old_lines, *new_lines)):
        return None
    old = [read_row(path, before[0], before[line]) for line in old_lines]
    new = [read_row(path, after[0], after[line]) for line in new_lines]
    was = {row[0]: line for row, line in zip(old, old_lines, strict=True) if row}
    now = {row[0]: row[1] for row in new if row}
    if len(was) < len(old) or len(now) < len(new):  # unsound, or named twice
        return None
    if [row and row[0] for row in old] == [row and row[0] for row in new]:
        owners = {written: paths[line] for written, line in was.items()}
        if has_copies and any(owner != written for written, owner in owners.items()):
            return None
        rows = {owner: now[written] for written, owner in owners.items() if owner is not None}
        return TableEdits(rows, set(), set(), text, paths, kept["whole"])
    others = paths[: old_lines.start] + paths[old_lines.stop :] if isinstance(old_lines, range) else []
    if not kept["whole"] or has_notes or not isinstance(old_lines, range):
        return None
    if not all(is_whole(written) for written in now):  # another file's path may be the same, in another form
        return None
    if not now.keys().isdisjoint(path for path in others if path is not None):
        return None
    middle: list[str | None] = [row[0] for row in new if row]
    paths = paths[: old_lines.start] + middle + paths[old_lines.stop :]
    return TableEdits(now, now.keys() - was.keys(), was.keys() - now.keys(), text, paths, whole=True)


def _compare(before: list[str], after: list[str]) -> tuple[Sequence[int], Sequence[int]]:
    """Numbers of the lines that differ: one by one where there are as many as before, else from first to last."""
    if len(before) == len(after):
        changed = [line for line, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        if changed and changed[-1] - changed[0] == len(changed) - 1:
            changed_range = range(changed[0], changed[-1] + 1)
            return changed_range, changed_range
        return changed, changed
    shorter = min(len(before), len(after))
    start = next((line for line in range(shorter) if before[line] != after[line]), shorter)
    ends = range(1, shorter - start + 1)
    end = next((line - 1 for line in ends if before[-line] != after[-line]), shorter - start)
    return range(start, len(before) - end), range(start, len(after) - end)
