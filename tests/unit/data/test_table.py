"""Tables with one row per track."""

from pathlib import Path

import pytest

from musicgen_core.data.table import read_table


def test_rows_match_by_path_then_name_then_stem(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("mp3,description\na/x.mp3,one\ny.mp3,two\nz,three\n\nlost.mp3,four\n", encoding="utf-8")
    read = read_table(table)
    found = read.match(["a/x.mp3", "b/x.mp3", "b/y.mp3", "c/z.flac"])
    assert {path: row["description"] for path, row in found.items()} == {
        "a/x.mp3": "one",
        "b/y.mp3": "two",
        "c/z.flac": "three",
    }
    assert read.problems == [(6, "'lost.mp3' matches no audio file")]


def test_a_name_that_fits_two_files_fits_none(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file,genre\nx.mp3,jazz\n")
    read = read_table(table)
    assert read.match(["a/x.mp3", "b/x.mp3"]) == {}
    assert read.problems == [(2, "'x.mp3' matches no audio file")]


def test_names_match_in_either_unicode_form(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file,genre\ncafe\u0301.mp3,jazz\n", encoding="utf-8-sig")
    assert read_table(table).match(["caf\u00e9.mp3"]) == {"caf\u00e9.mp3": {"genre": "jazz"}}


def test_bad_rows_are_problems_with_their_line(tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    table.write_text(
        '{"path": "a.wav", "moods": "calm"}\noops\n[]\n{"path": ""}\n{"path": "a.wav"}\n{"path": "b", "title": {}}\n'
    )
    read = read_table(table)
    assert read.match(["a.wav"]) == {"a.wav": {"moods": ["calm"]}}
    assert [line for line, _ in read.problems] == [2, 3, 4, 5, 6]
    assert "second time (first on line 1)" in read.problems[3][1]


def test_unquoted_commas_are_a_problem_not_a_shift(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('file,description\na.wav,"calm, warm"\nb.wav,calm, warm\n')
    read = read_table(table)
    assert read.match(["a.wav", "b.wav"]) == {"a.wav": {"description": "calm, warm"}}
    assert read.problems == [(3, "more cells than columns; put text with commas in double quotes")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.csv", None, "no such table"),
        ("jsn", None, "neither json, txt or tags nor a table"),
        ("t.csv", b"file\n\xff\n", "not UTF-8"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / name)
