"""The table of what training promises names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = "## What holds, and the test that says so"


def rows() -> list[str]:
    section = (ROOT / "docs/robust-training.md").read_text().partition(SECTION)[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ")][1:]


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_there_is_a_table() -> None:
    assert len(rows()) > 30


@pytest.mark.parametrize("row", rows())
def test_every_row_names_tests_that_exist(row: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row.split(" | ")[-1])
    assert named, row
    assert [f"{path}::{name}" for path, name in named if name not in functions(ROOT / "tests" / path)] == []
