"""The table of a manifest: its documented layout, its lines, and what is refused."""

from __future__ import annotations

import json
import pickle
import struct

import numpy as np
import pytest

from musicgen_core import native
from musicgen_core.data.tracks import write_track_list
from musicgen_core.util.atomic import write_jsonl

KEYS = [native.hash_bytes(str(n).encode()) for n in range(5)]
SAMPLES, WEIGHTS = [10, 0, 7, 2**40, 5], [1.0, 0.5, 0.0, 2.0, 0.25]


@pytest.fixture
def manifest(tmp_path):
    lines = [
        {"track": key, "num_samples": samples, "weight": weight, "caption": f"Größe {number}"}
        for number, (key, samples, weight) in enumerate(zip(KEYS, SAMPLES, WEIGHTS, strict=True))
    ]
    write_jsonl(tmp_path / "train.jsonl", lines)
    write_track_list(tmp_path / "train.jsonl")
    return tmp_path / "train.jsonl"


def test_round_trip(manifest):
    tracks = native.TrackList(manifest)
    assert (len(tracks), tracks.total_samples, tracks.longest_samples) == (5, sum(SAMPLES), 2**40)
    assert tracks.manifest_digest == native.hash_file(manifest)
    assert [tracks.key(n) for n in range(5)] == KEYS
    assert [json.loads(tracks.line(n))["caption"] for n in range(5)] == [f"Größe {n}" for n in range(5)]
    assert b"".join(tracks.line(n) for n in range(5)) == manifest.read_bytes()
    assert pickle.loads(pickle.dumps(tracks)).key(3) == KEYS[3]


def test_layout_is_the_documented_one(manifest):
    data = manifest.with_suffix(".tracks").read_bytes()
    head = struct.unpack_from("<8sIIQQQQ16s", data)
    size, digest = manifest.stat().st_size, bytes.fromhex(native.hash_file(manifest))
    assert head == (b"MGTRACKS", 1, 0, 5, size, sum(SAMPLES), 2**40, digest)
    assert data[64:144].hex() == "".join(KEYS)
    ends = np.cumsum([len(line) for line in manifest.read_bytes().splitlines(keepends=True)])
    for at, dtype, expected in [
        (144, "<u8", ends),
        (184, "<u8", SAMPLES),
        (224, "<f8", np.cumsum(WEIGHTS)),
        (264, "<f8", np.cumsum(np.multiply(WEIGHTS, SAMPLES))),
    ]:
        assert np.array_equal(np.frombuffer(data, dtype, 5, at), expected)
    assert len(data) == 304


def test_no_tracks_and_no_last_newline(tmp_path):
    path = tmp_path / "valid.jsonl"
    path.write_text("")
    write_track_list(path)
    assert len(native.TrackList(path)) == 0
    path.write_text(json.dumps({"track": KEYS[0], "num_samples": 3}))
    write_track_list(path)
    assert native.TrackList(path).line(0) == path.read_bytes()


def test_a_weight_that_is_not_given_is_one(tmp_path):
    path = tmp_path / "valid.jsonl"
    write_jsonl(path, [{"track": key, "num_samples": 3, "weight": None} for key in KEYS])
    write_track_list(path)
    flags, *_ = struct.unpack_from("<I", path.with_suffix(".tracks").read_bytes(), 12)
    assert flags == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"num_samples": 3}, "line 2: no 'track'"),
        ({"track": KEYS[1]}, "line 2: no 'num_samples'"),
        ({"track": "12", "num_samples": 3}, "line 2: track '12' is not 32 hex digits"),
        ({"track": "song", "num_samples": 3}, "line 2: "),
        ({"track": KEYS[1], "num_samples": 1.5}, "line 2: "),
        ({"track": KEYS[1], "num_samples": -1}, "line 2: num_samples is -1"),
        ({"track": KEYS[1], "num_samples": 3, "weight": -2.0}, "line 2: weight is -2"),
        ({"track": KEYS[1], "num_samples": 3, "weight": "much"}, "line 2: "),
        ({"track": KEYS[1], "num_samples": 2**70}, "line 2: "),
        ([], "line 2: "),
    ],
)
def test_lines_that_are_refused(tmp_path, line, message):
    path = tmp_path / "train.jsonl"
    write_jsonl(path, [{"track": KEYS[0], "num_samples": 3}, line])
    with pytest.raises(ValueError, match=message) as caught:
        write_track_list(path)
    assert str(path) in str(caught.value)
    assert not path.with_suffix(".tracks").exists()


def test_columns_that_do_not_fit(manifest):
    with pytest.raises(ValueError, match="1 keys, 1 lengths, 1 weights for 5 lines"):
        native.write_track_list(manifest, KEYS[:1], [3], [1.0])
    with pytest.raises(ValueError, match="16 bytes each"):
        native.write_track_list(manifest, b"123", [3], [1.0])
    with pytest.raises(FileNotFoundError):
        native.write_track_list(manifest.with_name("no.jsonl"), [], [], [])


def test_another_manifest_is_noticed(manifest):
    tracks = native.TrackList(manifest)
    with pytest.raises(ValueError, match="track 5 of 5"):
        tracks.key(5)
    with pytest.raises(ValueError, match="track -1 of 5"):
        tracks.line(-1)
    manifest.write_text("short\n")
    with pytest.raises(native.ShardError, match=r"line 2 is not in .*make it again"):
        native.TrackList.line(tracks, 1)
    with pytest.raises(native.ShardError, match="has 6; make it again"):
        native.TrackList(manifest)
    manifest.unlink()
    with pytest.raises(FileNotFoundError):
        native.TrackList(manifest)


def test_mutated_tables_never_crash(manifest):
    table = manifest.with_suffix(".tracks")
    whole = table.read_bytes()
    rng = np.random.default_rng(0)
    for round_ in range(1000):
        data = bytearray(whole)
        for position in rng.integers(0, len(data) if round_ % 2 else 64, int(rng.integers(1, 8))):
            data[position] = int(rng.integers(0, 256))
        table.write_bytes(data[: int(rng.integers(0, len(data)))] if round_ % 5 == 0 else data)
        try:
            tracks = native.TrackList(manifest)
            for track in range(len(tracks)):
                tracks.key(track)
                tracks.line(track)
        except native.ShardError:
            pass
