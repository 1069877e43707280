"""Tars: the same members give the same bytes, and damage is named."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest

from musicgen_core.data.shard_read import list_members, read_members
from musicgen_core.data.shard_write import open_shard


def write(path: Path) -> None:
    with open_shard(path) as shard:
        shard.add_array("a.codes.npy", np.arange(6, dtype=np.uint16).reshape(2, 3).T)
        shard.add_json("a.json", {"key": "a", "b": 1})


def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "one.tar")
    write(tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_members_come_back(tmp_path: Path) -> None:
    write(tmp_path / "one.tar")
    members = dict(read_members(tmp_path / "one.tar"))
    assert list(members) == list_members(tmp_path / "one.tar") == ["a.codes.npy", "a.json"]
    array = np.load(io.BytesIO(members["a.codes.npy"]))
    assert array.flags.c_contiguous
    assert array.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert members["a.json"] == b'{"b": 1, "key": "a"}'


def test_plain_webdataset_reads_it(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import webdataset

        write(tmp_path / "one.tar")
        (sample,) = webdataset.WebDataset(str(tmp_path / "one.tar"), shardshuffle=False).decode()
    assert sample["__key__"] == "a"
    assert sample["codes.npy"].shape == (3, 2)


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_shard(tmp_path / "one.tar") as shard:
        shard.add("a", b"x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_empty_tar_is_valid(tmp_path: Path) -> None:
    with open_shard(tmp_path / "empty.tar"):
        pass
    assert list(read_members(tmp_path / "empty.tar")) == []


@pytest.mark.parametrize("size", [0, 100, 600])
def test_damaged_tar_is_named(tmp_path: Path, size: int) -> None:
    write(tmp_path / "one.tar")
    (tmp_path / "cut.tar").write_bytes((tmp_path / "one.tar").read_bytes()[:size])
    with pytest.raises(ValueError, match=r"cut\.tar: damaged tar"):
        list(read_members(tmp_path / "cut.tar"))
