"""Pages that name a test for what they promise name one that exists, and files of code that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NAMED = re.compile(r"`((?:[\w/]+/)?test_\w+)(?:\.py)?::(test_\w+)`")
BARE = re.compile(r"`((?:[\w/]+/)?test_\w+\.py)`")
TESTS = {path.with_suffix("").as_posix(): path for path in (ROOT / "tests").rglob("test_*.py")}

# Pages whose tables have a test in each row: their section, how many rows there are at least, what a row says without
TABLES = {
    "workflow-tests.md": ("# ", 30, "no test: "),
    "robust-training.md": ("## What holds, and the test that says so", 30, None),
    "truth.md": ("# ", 90, "| n/a"),
}


def is_there(file: str, name: str) -> bool:
    """`file` is a path without ending, below the root or tests or anywhere, as long as it is one file's end."""
    paths = [path for stem, path in TESTS.items() if stem.endswith(f"/{file}")]
    return any(re.search(rf"^def {name}\(", path.read_text(), re.MULTILINE) for path in paths)


def is_a_file(name: str) -> bool:
    return any(f"{stem}.py".endswith(f"/{name}") for stem in TESTS)


def rows(page: str) -> list[str]:
    """Rows of the tables of a page's section, without heads."""
    section = (ROOT / "docs" / page).read_text().partition(TABLES[page][0])[2]
    lines = section.partition("\n## ")[0].splitlines() if TABLES[page][0] != "# " else section.splitlines()
    heads = {number - 1 for number, line in enumerate(lines) if line.startswith("|---")}
    return [line for number, line in enumerate(lines) if line.startswith("| ") and number not in heads]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_named_tests_exist(page: Path) -> None:
    assert [f"{file}::{name}" for file, name in NAMED.findall(page.read_text()) if not is_there(file, name)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_named_by_themselves_exist(page: Path) -> None:
    assert [name for name in BARE.findall(page.read_text()) if not is_a_file(name)] == []


@pytest.mark.parametrize("page", TABLES)
def test_every_row_names_a_test(page: str) -> None:
    _, least, without = TABLES[page]
    assert len(rows(page)) >= least
    assert [row for row in rows(page) if not NAMED.search(row) and (without is None or without not in row)] == []


def test_every_file_that_a_row_of_truth_names_exists() -> None:
    named = {name for row in rows("truth.md") for name in re.findall(r"[\w./]+\.py", row.split("|")[3])}
    assert len(named) > 30
    assert [name for name in named if not (ROOT / "musicgen_core" / name).is_file()] == []


def test_what_is_absent_is_noticed() -> None:
    assert is_there("tests/house/test_named_tests", "test_what_is_absent_is_noticed")
    assert is_there("test_named_tests", "test_what_is_absent_is_noticed")
    assert not is_there("test_named_tests", "test_what_is_not_there")
    assert BARE.findall("`tests/house/test_named_tests.py` (`test_x`)") == ["tests/house/test_named_tests.py"]
    assert is_a_file("test_named_tests.py")
    assert not is_a_file("unit/test_named_tests.py")
    assert not is_there("tests/unit/test_named_tests", "test_what_is_absent_is_noticed")
