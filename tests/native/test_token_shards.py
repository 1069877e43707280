"""Token shards and their index, against tars written by the standard library and arrays written by numpy."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest
import webdataset

from musicgen_core import native

CODEC = "0123456789abcdef" * 2
CARD = 2048


def key(i):
    return native.hash_bytes(str(i).encode())


def codes(i, num_codebooks=4, num_frames=None):
    rng = np.random.default_rng(i)
    return rng.integers(0, CARD, (num_codebooks, 50 + i if num_frames is None else num_frames), dtype=np.uint16)


def write_shard(path, members):
    """members: name -> bytes or array"""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            if isinstance(content, np.ndarray):
                buffer = io.BytesIO()
                np.save(buffer, content)
                content = buffer.getvalue()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def shard(path, tracks, **kwargs):
    members = {}
    for i in sorted(tracks, key=key):
        members[f"{key(i)}.codes.npy"] = codes(i, **kwargs)
        members[f"{key(i)}.json"] = json.dumps({"key": key(i)}).encode()
    return write_shard(path, members)


@pytest.fixture
def index(tmp_path):
    shards = [shard(tmp_path / f"0000{n}-of-00003.tar", range(n * 10, n * 10 + 10)) for n in range(3)]
    native.write_token_index(tmp_path / "index.bin", shards, CODEC, CARD)
    return tmp_path / "index.bin"


def test_round_trip(index):
    tokens = native.TokenShards(index)
    assert (tokens.num_tracks, tokens.num_codebooks, tokens.card, tokens.codec_digest) == (30, 4, CARD, CODEC)
    assert len(tokens) == 30
    assert tokens.keys == sorted(key(i) for i in range(30))
    for i in range(30):
        track = tokens.find(key(i))
        assert tokens.keys[track] == key(i)
        assert tokens.num_frames[track] == 50 + i
        np.testing.assert_array_equal(tokens.read(track), codes(i))
        np.testing.assert_array_equal(tokens.read(track, 7, 20), codes(i)[:, 7:27])
        np.testing.assert_array_equal(tokens.read(track, 45, 1000), codes(i)[:, 45:])
        assert tokens.read(track, 1000).shape == (4, 0)
    tokens.verify()


def test_layout_is_the_documented_one(index):
    data = index.read_bytes()
    magic, version, num_shards, num_tracks, num_codebooks, card, codec = struct.unpack_from("<8sIIQII32s", data)
    assert (magic, version, num_shards, num_tracks) == (b"MGTOKIDX", 2, 3, 30)
    assert (num_codebooks, card, codec.decode()) == (4, CARD, CODEC)
    at = 64 + 30 * 48
    names = []
    for _ in range(3):
        size, digest, length = struct.unpack_from("<Q16sH", data, at)
        name = data[at + 26 : at + 26 + length].decode()
        content = (index.parent / name).read_bytes()
        assert (size, digest.hex()) == (len(content), native.hash_bytes(content))
        names.append(name)
        at += 26 + length
    assert data[at:].hex() == native.hash_bytes(data[:at])
    for track in range(30):
        record_key, number, frames, offset, digest = struct.unpack_from("<16sIIQ16s", data, 64 + 48 * track)
        content = (index.parent / names[number]).read_bytes()[offset : offset + 4 * frames * 2]
        assert digest.hex() == native.hash_bytes(content)
        track_of = {key(i): i for i in range(30)}[record_key.hex()]
        np.testing.assert_array_equal(np.frombuffer(content, "<u2").reshape(4, frames), codes(track_of))


def test_same_bytes_whatever_the_order(index, tmp_path):
    shards = sorted(tmp_path.glob("*.tar"), reverse=True)
    native.write_token_index(tmp_path / "again.bin", shards, CODEC, CARD)
    assert (tmp_path / "again.bin").read_bytes() == index.read_bytes()
    assert not list(tmp_path.glob(".*tmp"))


def test_reads_what_webdataset_writes(tmp_path):
    with webdataset.TarWriter(str(tmp_path / "w.tar")) as writer:
        for i in range(5):
            writer.write({"__key__": key(i), "codes.npy": codes(i), "json": {"key": key(i)}})
    native.write_token_index(tmp_path / "index.bin", [tmp_path / "w.tar"], CODEC, CARD)
    tokens = native.TokenShards(tmp_path / "index.bin")
    for i in range(5):
        np.testing.assert_array_equal(tokens.read(tokens.find(key(i))), codes(i))


def test_index_beside_other_folders(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    path = shard(tmp_path / "a" / "é x.tar", [1, 2])
    native.write_token_index(tmp_path / "b" / "index.bin", [path], CODEC, CARD)
    assert native.TokenShards(tmp_path / "b" / "index.bin").num_tracks == 2
    monkeypatch.chdir(tmp_path / "a")
    native.write_token_index("index.bin", ["é x.tar"], CODEC, CARD)
    assert native.TokenShards("index.bin").num_tracks == 2


def test_pickled_and_forked(index):
    tokens = native.TokenShards(index)
    expected = tokens.read(4)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(tokens)).read(4), expected)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(tokens.read(4), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_arguments(index):
    tokens = native.TokenShards(index)
    with pytest.raises(KeyError, match="no track"):
        tokens.find("f" * 32)
    with pytest.raises(KeyError):
        tokens.find("not a key")
    for call in (lambda: tokens.read(30), lambda: tokens.read(-1)):
        with pytest.raises(ValueError, match="of 30"):
            call()
    with pytest.raises(ValueError, match="start is -2"):
        tokens.read(0, -2)
    with pytest.raises(FileNotFoundError):
        native.TokenShards(index.parent / "no.bin")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({f"{key(0)}.codes.npy": codes(0).astype(np.int64)}, "dtype is '<i8'"),
        ({f"{key(0)}.codes.npy": np.asfortranarray(codes(0))}, "C order"),
        ({f"{key(0)}.codes.npy": codes(0)[0]}, "shape"),
        ({f"{key(0)}.codes.npy": codes(0), f"{key(1)}.codes.npy": codes(1, 2)}, "2 codebooks where the others have 4"),
        ({f"{key(0)}.codes.npy": codes(0) + CARD}, "not below the codec's card 2048"),
        ({"song.codes.npy": codes(0)}, "not 32 hex digits"),
        ({f"{key(0)}.codes.npy": b"junk"}, "not a .npy array"),
    ],
)
def test_bad_members(tmp_path, members, message):
    path = write_shard(tmp_path / "bad.tar", members)
    with pytest.raises(native.ShardError, match=message) as caught:
        native.write_token_index(tmp_path / "index.bin", [path], CODEC, CARD)
    assert str(path) in str(caught.value)
    assert not (tmp_path / "index.bin").exists()


def test_bad_shards(tmp_path):
    path = shard(tmp_path / "a.tar", [1, 2])
    other = shard(tmp_path / "b.tar", [2, 3])
    with pytest.raises(native.ShardError, match=f"track {key(2)} is in a.tar and again in b.tar"):
        native.write_token_index(tmp_path / "index.bin", [path, other], CODEC, CARD)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(native.ShardError, match="truncated"):
        native.write_token_index(tmp_path / "index.bin", [path], CODEC, CARD)
    path.write_bytes(b"")
    with pytest.raises(native.ShardError, match=r"a\.tar"):
        native.write_token_index(tmp_path / "index.bin", [path], CODEC, CARD)
    with pytest.raises(FileNotFoundError):
        native.write_token_index(tmp_path / "index.bin", [tmp_path / "no.tar"], CODEC, CARD)
    with pytest.raises(FileNotFoundError):
        native.write_token_index(tmp_path / "no" / "index.bin", [other], CODEC, CARD)
    with pytest.raises(ValueError, match="codec_digest"):
        native.write_token_index(tmp_path / "index.bin", [other], "tiny", CARD)
    with pytest.raises(ValueError, match="card is 0"):
        native.write_token_index(tmp_path / "index.bin", [other], CODEC, 0)


def test_no_tracks(tmp_path):
    native.write_token_index(tmp_path / "index.bin", [], CODEC, CARD)
    tokens = native.TokenShards(tmp_path / "index.bin")
    assert (tokens.num_tracks, tokens.keys, tokens.num_frames.shape) == (0, [], (0,))
    tokens.verify()


def test_changed_shard_is_noticed(index):
    path = index.parent / "00001-of-00003.tar"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    tokens = native.TokenShards(index)
    with pytest.raises(native.ShardError, match=r"00001-of-00003\.tar: digest"):
        tokens.verify()
    path.write_bytes(data[:-512])
    with pytest.raises(native.ShardError, match=r"00001-of-00003\.tar: .* bytes, the index says"):
        native.TokenShards(index)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        native.TokenShards(index)


def test_mutated_index_never_crashes(index):
    whole = index.read_bytes()
    path = index.with_name("mutant.bin")
    rng = np.random.default_rng(0)
    for round_ in range(1000):
        data = bytearray(whole)
        for position in rng.integers(0, len(data) if round_ % 2 else 64, int(rng.integers(1, 8))):
            data[position] = int(rng.integers(0, 256))
        path.write_bytes(data[: int(rng.integers(0, len(data)))] if round_ % 5 == 0 else data)
        try:
            tokens = native.TokenShards(path)
            if tokens.num_frames.sum() < 1 << 20 and tokens.num_codebooks < 1 << 10:
                for track in range(tokens.num_tracks):
                    tokens.read(track)
            tokens.verify()
        except (native.ShardError, FileNotFoundError, OSError, ValueError):
            pass
