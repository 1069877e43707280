"""Edits of a table of captions: what is amended equals, byte for byte, what a scan of all files writes."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_amend import NUM_TRACKS, apply, assert_equals_a_scan, corpus, make_clip, plan, refuse

from musicgen_core.data.table import has_a_line_per_row, read_row, read_table
from musicgen_core.stages import scan as stage

__all__ = ["corpus"]

HEADER = "file,description,artist,license"
TABLES = ("captions.csv", "json", "tags")


def write_table(music: Path, rows: list[str], ends: str = "\n") -> None:
    (music / "captions.csv").write_text(ends.join([HEADER, *rows, ""]), newline="")


def first_rows() -> list[str]:
    return [f"{number:02d}.wav,row {number},artist {number // 2},CC0-1.0" for number in range(2, NUM_TRACKS)]


@pytest.fixture
def project(corpus: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A corpus whose words stand in a table; two of its files are copies."""
    shutil.copytree(corpus, tmp_path / "music")
    write_table(tmp_path / "music", [*first_rows(), "nowhere.wav,nobody,,"])
    plan(tmp_path / "music", tmp_path / "results", TABLES)
    return tmp_path / "music", tmp_path / "results"


ROW = "07.wav,row 7,artist 3,CC0-1.0"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ROW, "07.wav,other words,artist 3,CC0-1.0"),
        (ROW, '07.wav,"other, and more, words",artist 3,CC0-1.0'),
        (ROW, "07.wav,row 7,somebody else,CC0-1.0"),
        (ROW, "07.wav,row 7,artist 3,none"),
        (ROW, "07.wav"),
        (f"{ROW}\n08.wav,row 8,", '07.wav,,,\n"08.wav","row 8",'),  # the second means the same
        ("05.wav,row 5,", "05.wav,five,"),  # its sidecar is broken
    ],
    ids=["caption", "commas", "artist", "licence", "emptied", "two", "broken sidecar"],
)
def test_a_row_that_was_edited_is_amended(
    project: tuple[Path, Path], old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    music, results = project
    text = (music / "captions.csv").read_text()
    assert old in text
    (music / "captions.csv").write_text(text.replace(old, new))
    with monkeypatch.context() as patched:
        patched.setattr(stage, "take_inventory", refuse)
        planned = plan(music, results, TABLES)
        assert_again = plan(music, results, TABLES)
    assert planned == assert_again
    assert_equals_a_scan(music, results, planned, TABLES)
    (music / "captions.csv").write_text(text)
    assert_equals_a_scan(music, results, plan(music, results, TABLES), TABLES)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("file,description", "file,title"),
        (ROW, f"{ROW}\n99.wav,new,,"),
        (f"{ROW}\n", ""),
        (ROW, "7.wav,row 7,artist 3,CC0-1.0"),
        (ROW, "07.wav,row, 7, artist 3,CC0-1.0"),
        (ROW, '07.wav,"row 7\n99",artist 3,CC0-1.0'),
        (ROW, '07.wav,"row 7,artist 3,CC0-1.0'),
        ("nowhere.wav", "nowhere2.wav"),
        ("03.wav,row 3", "03.wav,"),  # one of two copies
    ],
    ids=["header", "added", "removed", "renamed", "cells", "two lines", "open quote", "unmatched", "copy"],
)
def test_an_edit_that_reaches_further_is_left_to_a_scan(project: tuple[Path, Path], old: str, new: str) -> None:
    music, results = project
    text = (music / "captions.csv").read_text()
    assert old in text
    (music / "captions.csv").write_text(text.replace(old, new, 1))
    assert_equals_a_scan(music, results, plan(music, results, TABLES), TABLES)
    (music / "captions.csv").write_text(text)
    assert_equals_a_scan(music, results, plan(music, results, TABLES), TABLES)


def test_files_that_come_and_go_with_their_rows_are_amended(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows name whole paths, and there is no note about any line."""
    music, results, rows = tmp_path / "music", tmp_path / "results", first_rows()
    shutil.copytree(corpus, music)
    for path in [*music.glob("0[01].*"), *music.glob("*.als"), music / "copy.wav"]:
        path.unlink()
    write_table(music, rows)
    plan(music, results, TABLES)

    def go_on(rows: list[str]) -> None:
        write_table(music, rows)
        with monkeypatch.context() as patched:
            patched.setattr(stage, "take_inventory", refuse)
            planned = plan(music, results, TABLES)
        assert_equals_a_scan(music, results, planned, TABLES)
        shutil.rmtree(results)  # what is spare counts anew
        plan(music, results, TABLES)

    (music / "x").mkdir()
    make_clip(music / "x/99.wav", 99)
    go_on(rows := [*rows[:9], "x/99.wav,new,artist 99,CC0-1.0", *rows[9:]])
    (music / "20.wav").unlink()
    go_on(rows := [row for row in rows if not row.startswith("20.")])
    (music / "30.wav").rename(music / "y.wav")
    go_on([row.replace("30.wav,row 30", "y.wav,row 30") for row in rows])


def test_files_and_rows_that_come_and_go_alone_are_amended(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows name whole paths: no row will fit a file that has none."""
    music, results, rows = tmp_path / "music", tmp_path / "results", first_rows()
    shutil.copytree(corpus, music)
    write_table(music, rows)
    plan(music, results, TABLES)

    def go_on(*missing: str) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(stage, "take_inventory", refuse)
            planned = plan(music, results, TABLES)
        assert_equals_a_scan(music, results, planned, TABLES)
        notes = (results / "plan/mine/notes.jsonl").read_text().splitlines()
        assert [json.loads(note)["path"] for note in notes] == [*missing]
        shutil.rmtree(results)  # what is spare counts anew
        plan(music, results, TABLES)

    (music / "x").mkdir()
    make_clip(music / "x/09.wav", 98)  # the row of 09.wav stays that of 09.wav
    (music / "x/09.json").write_text('{"description": "own words", "license": "CC0-1.0"}')
    go_on()
    make_clip(music / "x/08.wav", 99)
    go_on("x/08.wav")
    make_clip(music / "a.wav", 97)
    go_on("a.wav", "x/08.wav")
    write_table(music, rows := [*rows, "x/08.wav,new,artist 99,CC0-1.0"])
    go_on("a.wav")
    write_table(music, [row for row in rows if not row.startswith(("x/08.", "21."))])
    go_on("a.wav", "x/08.wav")
    (music / "a.wav").unlink()
    go_on("x/08.wav")
    make_clip(music / "07.wav", 96)
    (music / "06.json").write_text('{"title": "beside its row", "license": "CC0-1.0"}')
    go_on("x/08.wav")


@pytest.mark.parametrize(
    ("file", "rows"),
    [
        ("x99.wav", ["x99.wav,new,,", "x98.wav,nobody,,"]),
        ("x99.wav", ["x99,new,,"]),
        ("x99.wav", ["x99.wav,new,,", "07.wav,again,,"]),
        ("x99.md", ["x99.md,new,,"]),
        ("", ["../music/07.wav,new,,"]),
    ],
    ids=["no file", "stem", "twice", "no music", "another way"],
)
def test_a_file_or_a_row_alone_is_left_to_a_scan(corpus: Path, tmp_path: Path, file: str, rows: list[str]) -> None:
    music, results = tmp_path / "music", tmp_path / "results"
    shutil.copytree(corpus, music)
    write_table(music, first_rows())
    plan(music, results, TABLES)
    if file:
        make_clip(music / "x99.wav", 99)
        (music / "x99.wav").rename(music / file)
    write_table(music, [*first_rows(), *rows])
    assert_equals_a_scan(music, results, plan(music, results, TABLES), TABLES)
    write_table(music, first_rows())
    assert_equals_a_scan(music, results, plan(music, results, TABLES), TABLES)


NFC, NFD = "\u00e9.wav", "e\u0301.wav"


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("own_row", [False, True])
def test_a_path_that_another_form_of_unicode_has_already_is_left_to_a_scan(
    corpus: Path, tmp_path: Path, own_row: bool, reverse: bool
) -> None:
    """A row of either name then fits neither, so the second file has no words."""
    first, second = (NFD, NFC) if reverse else (NFC, NFD)
    music, results = tmp_path / "music", tmp_path / "results"
    shutil.copytree(corpus, music)
    make_clip(music / first, 98)
    (music / first).with_suffix(".json").write_text('{"description": "own words", "license": "CC0-1.0"}')
    rows = [*first_rows(), *([f"{first},first,,CC0-1.0"] * own_row)]
    write_table(music, rows)
    plan(music, results, TABLES)
    make_clip(music / second, 99)
    write_table(music, [*rows, f"{second},second,,CC0-1.0"])
    planned = plan(music, results, TABLES)
    assert_equals_a_scan(music, results, planned, TABLES)
    assert planned.corpora["mine"].num_notes == 2 + own_row


def test_copies_that_come_with_their_rows_are_left_to_a_scan(corpus: Path, tmp_path: Path) -> None:
    """The row of the one that is not used is worth a note."""
    music, results = tmp_path / "music", tmp_path / "results"
    shutil.copytree(corpus, music)
    write_table(music, first_rows())
    plan(music, results, TABLES)
    make_clip(music / "x.wav", 99)
    shutil.copy(music / "x.wav", music / "y.wav")
    write_table(music, [*first_rows(), "x.wav,new,,CC0-1.0", "y.wav,new,,CC0-1.0"])
    planned = plan(music, results, TABLES)
    assert_equals_a_scan(music, results, planned, TABLES)
    assert planned.corpora["mine"].num_notes == 1


def test_a_row_behind_an_open_quote_belongs_to_that_cell(corpus: Path, tmp_path: Path) -> None:
    music, results = tmp_path / "music", tmp_path / "results"
    shutil.copytree(corpus, music)
    make_clip(music / "z.wav", 98)
    rows = [*first_rows(), 'z.wav,"foo']
    write_table(music, rows)
    assert not has_a_line_per_row(read_table(music / "captions.csv"))
    plan(music, results, TABLES)
    make_clip(music / "y.wav", 99)
    write_table(music, [*rows, "y.wav,bar"])
    assert_equals_a_scan(music, results, plan(music, results, TABLES), TABLES)


def test_a_table_outside_the_corpus_and_rows_by_name_or_stem(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without copies among the music a row may name its file in any way."""
    music, results, captions = tmp_path / "music", tmp_path / "results", ("../captions.jsonl", "json")
    music.mkdir()
    for number in range(20):
        make_clip(music / f"{number % 2}/{number:02d}.wav", number)

    def write(words: str) -> None:
        rows = [
            {"file": f"{n:02d}" + ".wav" * (n % 3 == 0), "description": words if n == 7 else "x"} for n in range(20)
        ]
        text = "\n".join(
            json.dumps({**row, "artist": f"artist {n}", "license": "CC0-1.0"}) for n, row in enumerate(rows)
        )
        (tmp_path / "captions.jsonl").write_text(text)

    write("one")
    plan(music, results, captions)
    write("two")
    with monkeypatch.context() as patched:
        patched.setattr(stage, "take_inventory", refuse)
        planned = plan(music, results, captions)
    assert_equals_a_scan(music, results, planned, captions)
    assert '"caption": "two"' in (results / "plan/mine/metadata.jsonl").read_text()


words = st.text(st.sampled_from('ab ,"\n\u2028'), max_size=4)
cells = st.tuples(st.integers(0, NUM_TRACKS + 1), st.integers(0, 3), words, st.booleans())
comers = st.tuples(st.integers(NUM_TRACKS, NUM_TRACKS + 5), st.integers(0, 3), words, st.booleans())
loners = st.tuples(
    st.sampled_from(["clip", "remove", "break", "artist", "short", "row"]), st.integers(0, NUM_TRACKS + 3)
)
LAST = NUM_TRACKS - 3


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.one_of(cells, comers, loners), min_size=1, max_size=2), min_size=1, max_size=4),
    st.sampled_from(["\n", "\r\n"]),
)
@example([[(LAST, 1, '"', False)], [(NUM_TRACKS, 3, "", False)]], "\n")  # a quote left open, and a row behind it
@example([[(NUM_TRACKS, 2, "", False), (NUM_TRACKS + 1, 2, "", False)]], "\n")  # copies
@example([[(NUM_TRACKS + 2, 0, "", False)], [(NUM_TRACKS + 3, 0, "", False)]], "\n")  # a name in two Unicode forms
def test_over_any_history_of_a_table_an_amended_plan_is_that_of_a_scan(
    corpus: Path, history: list[list[tuple[Any, ...]]], ends: str
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        music, results, rows = Path(scratch) / "music", Path(scratch) / "results", first_rows()
        shutil.copytree(corpus, music)
        write_table(music, rows, ends)
        plan(music, results, TABLES)
        for step in history:
            for edit in step:
                if len(edit) == 2:
                    what, number = edit
                    if what == "row":
                        rows = [row for row in rows if not row.startswith(f"{number:02d}.")]
                        rows += [f"{number:02d}.wav,moved,,CC0-1.0"] * (number % 2)
                    else:
                        apply(music, what, f"{number:02d}", 500)
                    continue
                line, column, word, quoted = edit
                if line >= len(rows):
                    name = (f"x{column}.wav", f"y{column}.wav", NFC, NFD)[line % 4]
                    make_clip(music / name, 100 * (line % 4 or 1) + column)  # x and y are copies
                    rows.insert(len(rows) * column // 3, f"{name},{word or 'new'},artist 3,CC0-1.0")
                    continue
                row = rows[line].split(",")
                row[min(column, len(row) - 1)] = '"' + word.replace('"', '""') + '"' if quoted else word
                rows[line] = ",".join(row)
            write_table(music, rows, ends)
            try:
                planned = plan(music, results, TABLES)
            except ValueError:  # the table as a whole cannot be read: then nor can a scan of all files
                with pytest.raises(ValueError, match=r"captions\.csv"):
                    plan(music, results.with_name("anew"), TABLES)
                return
            assert_equals_a_scan(music, results, planned, TABLES)


@pytest.mark.parametrize(
    ("name", "line", "row"),
    [
        ("t.csv", "a.wav,words,x\n", ("a.wav", {"description": "words", "artist": "x"})),
        ("t.csv", "a.wav\n", ("a.wav", {})),
        ("t.csv", "\n", None),
        ("t.csv", "a.wav,b,c,d,e\n", None),
        ("t.csv", 'a.wav,"b\n', None),
        ("t.csv", 'a.wav,b"c,"d\n', None),
        ("t.tsv", "a.wav\twords\tx\n", None),  # its header has no tabs: one cell
        ("t.jsonl", '{"file": "a.wav", "artist": "x"}', ("a.wav", {"artist": "x"})),
        ("t.jsonl", "[]", None),
        ("t.jsonl", "", None),
    ],
)
def test_one_line_is_read_as_the_whole_table_is(name: str, line: str, row: object) -> None:
    found = read_row(Path(name), HEADER + "\n", line)
    assert found == row if row is None else found is not None and (found[0], {**found[1]}) == row
