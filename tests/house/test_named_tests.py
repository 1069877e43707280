"""Pages that name a test for a promise name one that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NAMED = re.compile(r"`(tests/[\w/.]+\.py)::(test_\w+)`")


def find_tests(path: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)) if path.is_file() else set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_named_tests_exist(page: Path) -> None:
    gone = [f"{file}::{name}" for file, name in NAMED.findall(page.read_text()) if name not in find_tests(ROOT / file)]
    assert gone == []


def test_every_promise_of_the_workflow_names_a_test() -> None:
    rows = [line for line in (ROOT / "docs/workflow-tests.md").read_text().splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith(("| promise", "|---"))]
    assert len(promises) > 30
    assert [row for row in promises if not NAMED.search(row) and "no test: " not in row] == []
