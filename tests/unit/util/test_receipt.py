"""Receipts: what a stage left, and how a result that is no longer that is noticed."""

import json
import os
from pathlib import Path

import pytest

from musicgen_core import cli, native
from musicgen_core.util.receipt import check_inputs, list_files, read_receipt, receipt_path, write_receipt


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "tokens/00000-of-00001.tar"
    path.parent.mkdir()
    path.write_bytes(b"codes" * 100)
    write_receipt(path, "tokenize", 1, {"chunk_sec": 30.0}, {"audio.tar": "ab"}, 1.5)
    return path


def test_a_receipt_says_what_was_made_and_of_what(shard: Path) -> None:
    receipt = read_receipt(shard)
    assert receipt is not None
    assert (receipt.stage, receipt.stage_version, receipt.config) == ("tokenize", 1, {"chunk_sec": 30.0})
    assert receipt.inputs == {"audio.tar": "ab"}
    assert receipt.outputs["00000-of-00001.tar"].digest == native.hash_file(shard)
    assert check_inputs([shard]) == {str(shard): native.hash_file(shard)}


def test_a_touched_file_is_the_same(shard: Path) -> None:
    os.utime(shard, (1, 1))
    assert list(check_inputs([shard])) == [str(shard)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:7]), r"00000-of-00001\.tar: has 7 bytes, but 500 were written"),
        (lambda p: p.write_bytes(b"codec" * 100), r"its 500 bytes are not those that were written: it was altered"),
    ],
)
def test_an_altered_file_is_refused(shard: Path, change, message: str) -> None:
    change(shard)
    os.utime(shard, (2, 2))
    with pytest.raises(ValueError, match=message) as caught:
        check_inputs([shard])
    assert "delete it and start snakemake again" in str(caught.value)


def test_a_folder_is_sealed_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "manifest/mine"
    folder.mkdir(parents=True)
    for name in ("train.jsonl", "valid.jsonl", ".hidden"):
        (folder / name).write_text(name)
    write_receipt(folder, "manifest", 1, {}, {}, 0.1)
    assert [path.name for path in list_files(folder)] == ["train.jsonl", "valid.jsonl"]
    assert len(check_inputs([folder])) == 2
    (folder / "train.jsonl").write_text("other words")
    with pytest.raises(ValueError, match=r"train\.jsonl"):
        check_inputs([folder / "train.jsonl"])


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "musicgen_core receipt", "version": 9}'])
def test_a_damaged_receipt_seals_nothing(shard: Path, text: str) -> None:
    receipt_path(shard).write_text(text)
    assert read_receipt(shard) is None
    assert len(check_inputs([shard])) == 1


def test_an_input_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.dumps({"codec_digest": "0" * 32, "card": 3})
    command = ["index", "--config", config, "--shards", str(tmp_path / "no.tar"), "--out", str(tmp_path / "index.bin")]
    assert cli.main(command) == 1
    assert "no.tar" in capsys.readouterr().err


def test_a_list_of_paths_comes_from_a_file(tmp_path: Path, shard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The stage sees the shards that the list names: the one that was cut short is refused by name."""
    shard.write_bytes(b"")
    (tmp_path / "list.txt").write_text(f"{shard}\n")
    config = json.dumps({"codec_digest": "0" * 32, "card": 3})
    out = tmp_path / "index.bin"
    assert cli.main(["index", "--config", config, "--shards", f"@{tmp_path}/list.txt", "--out", str(out)]) == 1
    assert f"{shard}: has 0 bytes, but 500 were written" in capsys.readouterr().err
    assert cli.main(["index", "--config", config, "--shards", f"@{tmp_path}/none.txt", "--out", str(out)]) == 1
    assert "none.txt: No such file" in capsys.readouterr().err
