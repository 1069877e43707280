"""Files are whole or absent."""

from pathlib import Path

import pytest

from musicgen_core.util.atomic import (
    atomic_folder,
    atomic_open,
    atomic_path,
    read_jsonl,
    write_jsonl,
    write_text,
    write_text_if_changed,
)


def test_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="mid-way"), atomic_open(path) as handle:
        handle.write("new, but half")
        raise RuntimeError("mid-way")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_success_replaces_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.bin"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        temporary.write_bytes(b"x")
        assert not path.exists()
    assert path.read_bytes() == b"x"


def test_unchanged_text_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    assert write_text_if_changed(path, "x")
    before = path.stat().st_mtime_ns
    assert not write_text_if_changed(path, "x")
    assert path.stat().st_mtime_ns == before
    assert write_text_if_changed(path, "y")


def test_jsonl_round_trip_and_the_line_of_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    records = [{"title": "Größe \u2028 'quoted'"}, {"n": 1.5}]
    write_jsonl(path, records)
    assert read_jsonl(path) == records
    path.write_text('{"a": 1}\n{"b": \n')
    with pytest.raises(ValueError, match="line 2: not JSON"):
        read_jsonl(path)


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old")
        assert not path.exists()
    with pytest.raises(RuntimeError, match="mid-way"), atomic_folder(path) as temporary:
        (temporary / "a").write_text("new")
        raise RuntimeError("mid-way")
    assert (path / "a").read_text() == "old"
    with atomic_folder(path) as temporary:
        (temporary / "b").write_text("new")
    assert [p.name for p in path.iterdir()] == ["b"]
    assert [p.name for p in path.parent.iterdir()] == ["folder"]
