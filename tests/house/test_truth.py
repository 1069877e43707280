"""docs/truth.md promises a test for each row."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/truth.md"


def rows() -> list[list[str]]:
    """Cells of the rows of every table, without heads."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[1] != "here"]


def test_every_row_names_tests_that_exist() -> None:
    files = {path.stem: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    named = re.findall(r"`(test_\w+)::(test_\w+)`", PAGE.read_text())
    absent = [f"{file}::{test}" for file, test in named if f"def {test}(" not in files.get(file, "")]
    assert absent == []
    assert len(rows()) > 90
    for row in rows():
        assert len(row) == 4, row
        assert re.search(r"`test_\w+::test_\w+`", row[3]) or row[1].startswith("n/a"), row


def test_every_file_that_a_row_names_exists() -> None:
    for row in rows():
        for name in re.findall(r"[\w./]+\.py", row[2]):
            assert (ROOT / "musicgen_core" / name).is_file(), row
