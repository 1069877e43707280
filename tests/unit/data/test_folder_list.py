"""The list of a folder's files against a walk in plain Python, and what changed since a list was written."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicgen_core.native import FolderList, FoundFile

names = st.sampled_from(["a", "b", "ñ", "a.wav", "a b.txt", "a!", "Z", ".hidden", "a\udcff"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


def write(folder: Path, path: str, text: str) -> None:
    """Write a file, unless the path leads through one or is a folder."""
    try:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        pass


def slow_walk(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                stat = os.stat(os.path.join(root, name))
                path = os.path.relpath(os.path.join(root, name), folder)
                found[path] = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return found


def as_dict(found: list[FoundFile]) -> dict[str, tuple[int, int, int]]:
    return {file.path: tuple(file[1:]) for file in found}


@settings(max_examples=30, deadline=None)
@given(st.lists(paths, max_size=12), st.lists(st.tuples(paths, st.sampled_from(["", "x", None])), max_size=6))
def test_list_and_changes_equal_a_plain_walk(start: list[str], edits: list[tuple[str, str | None]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder, written = Path(scratch) / "music", Path(scratch) / "files.list"
        folder.mkdir()
        for path in start:
            write(folder, path, path.encode("utf-8", "replace").decode())
        former, before = FolderList(folder), slow_walk(folder)
        former.write(written)
        assert as_dict(former.files()) == before
        assert [os.fsencode(f.path) for f in former.files()] == sorted(os.fsencode(path) for path in before)
        for path, text in edits:
            if text is not None:
                write(folder, path, text)
            elif (folder / path).is_dir():
                shutil.rmtree(folder / path)
            elif (folder / path).exists():
                (folder / path).unlink()
        now, after = FolderList(folder), slow_walk(folder)
        assert as_dict(now.files()) == after
        assert (now.digest() == former.digest()) == (before == after)
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        changes = now.changes_since(written)
        assert {(old or new).path for old, new in changes} == changed
        assert as_dict([old for old, _ in changes if old]) == {p: before[p] for p in changed & before.keys()}
        assert as_dict([new for _, new in changes if new]) == {p: after[p] for p in changed & after.keys()}
        for prefix in ("", "a", "a/", "b/a", "q"):
            assert {f.path for f in now.starting(prefix)} == {path for path in after if path.startswith(prefix)}


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"files\.list: not a list of files"):
        (tmp_path / "files.list").write_bytes(b"1 2 a\0")
        FolderList(tmp_path).changes_since(tmp_path / "files.list")
    with pytest.raises(FileNotFoundError):
        FolderList(tmp_path).changes_since(tmp_path / "absent")
