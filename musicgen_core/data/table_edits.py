"""Which row of a corpus's table of captions belongs to which track: kept beside the plan, so that an edited table is
compared with the last one line by line, and only the lines that differ are parsed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from musicgen_core.data.table import Table, has_a_line_per_row, read_row, split_lines
from musicgen_core.util.atomic import write_text

FORMER = "table.former"
"""The table's text when it was last read."""

ROWS = "table.rows"
"""For each line of it the path of the audio file that got this row, as JSON, or null."""

SMALL_PART = 10
"""Compared are tables of which at most one line in so many changed."""


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
    write_text(folder / ROWS, "".join(json.dumps(path) + "\n" for path in paths))
    write_text(folder / FORMER, table.text)


def find_edits(folder: Path, path: Path, has_copies: bool) -> tuple[dict[str, dict[str, Any]], str] | None:
    """Audio path -> normalised fields of the rows that changed since the table was kept, and the table's text now.

    None where only a look at all rows tells: a line came or went, or names another file, or is unsound; many changed;
    or, with copies among the music (`has_copies`, whose words decide which is used), a row that does not name its file
    by its whole path.
    """
    try:
        former = (folder / FORMER).read_text(encoding="utf-8")
        paths = (folder / ROWS).read_text(encoding="utf-8").split("\n")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    before, after = split_lines(path, former), split_lines(path, text)
    changed = [line for line, (old, new) in enumerate(zip(before, after, strict=False)) if old != new]
    if len(before) != len(after) or len(changed) * SMALL_PART > len(before):
        return None
    edits: dict[str, dict[str, Any]] = {}
    for line in changed:
        old, new = read_row(path, before[0], before[line]), read_row(path, after[0], after[line])
        if old is None or new is None or old[0] != new[0]:
            return None
        owner = json.loads(paths[line])
        if has_copies and new[0] != owner:
            return None
        if owner is not None:
            edits[owner] = new[1]
    return edits, text
