"""Audio of the segments that codes are drawn from: exactly those samples, whatever is read before or beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_corpus import write_audio
from hypothesis import given, settings
from hypothesis import strategies as st
from token_corpus import SPEC, write_corpus

from musicgen_core import native
from musicgen_core.data.batches import TokenDataset
from musicgen_core.data.shard_read import read_members
from musicgen_core.data.shard_write import open_shard
from musicgen_core.data.track_audio import TrackAudio
from musicgen_core.data.tracks import open_tracks

HOP = SPEC.hop_samples


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """-> manifest folder, index, tar."""
    root = tmp_path_factory.mktemp("corpus")
    folder, index = write_corpus(root, num_frames=120)
    return folder, index, write_audio(root, folder)


@pytest.fixture(scope="module")
def wholes(corpus: tuple[Path, Path, Path]) -> dict[str, np.ndarray]:
    return {name.removesuffix(".flac"): native.decode(data)[0] for name, data in read_members(corpus[2])}


def read_lines(folder: Path, split: str = "train") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


@settings(max_examples=30, deadline=None)
@given(track=st.integers(0, 5), start=st.integers(0, 170), num_frames=st.integers(1, 160), threads=st.integers(1, 3))
def test_a_segment_is_the_slice_of_the_whole(
    corpus: tuple[Path, Path, Path],
    wholes: dict[str, np.ndarray],
    track: int,
    start: int,
    num_frames: int,
    threads: int,
) -> None:
    lines = read_lines(corpus[0])
    audio = TrackAudio([corpus[2]], SPEC, num_threads=threads)
    wav_BCN, num_valid_B = audio.read([lines[track], lines[0]], [start, 3], num_frames)
    assert wav_BCN.shape == (2, 1, num_frames * HOP)
    for wav_CN, num_valid, line, first in zip(wav_BCN, num_valid_B, (lines[track], lines[0]), (start, 3), strict=True):
        expected = wholes[line["track"]][:, first * HOP : (first + num_frames) * HOP]
        assert num_valid == expected.shape[1]
        assert np.array_equal(wav_CN[:, :num_valid], expected)
        assert not wav_CN[:, num_valid:].any()


def test_a_batch_knows_where_its_segments_start(corpus: tuple[Path, Path, Path], wholes: dict[str, np.ndarray]) -> None:
    """Codes and audio of a batch are of one and the same piece."""
    tracks = open_tracks([corpus[0]], [corpus[1]], "train", SPEC)
    dataset = TokenDataset(tracks, seed=3, batch_size=8, segment_frames=100, min_segment_ratio=0.5)
    audio = TrackAudio([corpus[2]], SPEC)
    batch = dataset.read(40)
    wav_BCN, num_valid_B = audio.read(batch.lines, batch.starts_B, 100)
    assert len(set(batch.starts_B.tolist())) > 3
    for row, (key, start) in enumerate(zip(batch.tracks, batch.starts_B.tolist(), strict=True)):
        shard = tracks.shards[0]
        codes_KT = shard.read(shard.find(key), start, 100)
        assert np.array_equal(batch.codes_BKT[row, :, : codes_KT.shape[1]], codes_KT)
        assert num_valid_B[row] == int(batch.mask_BT[row].sum()) * HOP == codes_KT.shape[1] * HOP
        expected = wholes[key][:, start * HOP : (start + 100) * HOP]
        assert np.array_equal(wav_BCN[row, :, : num_valid_B[row]], expected)
    part = list(batch.split(3))[1]
    assert part.starts_B.tolist() == batch.starts_B[3:6].tolist()


def test_a_stereo_codec_gets_both_channels(tmp_path: Path, corpus: tuple[Path, Path, Path]) -> None:
    from dataclasses import replace

    line = read_lines(corpus[0])[0]
    spec = replace(SPEC, num_channels=2)
    wav_BCN, _ = TrackAudio([corpus[2]], spec).read([line], [5], 10)
    mono_BCN, _ = TrackAudio([corpus[2]], SPEC).read([line], [5], 10)
    assert np.array_equal(wav_BCN, np.repeat(mono_BCN, 2, axis=1))


def test_what_is_not_there_is_named(tmp_path: Path, corpus: tuple[Path, Path, Path]) -> None:
    folder, _, tar = corpus
    line = read_lines(folder)[0]
    with pytest.raises(FileNotFoundError, match=r"00009-of-00010\.tar: no such prepared audio"):
        TrackAudio([tar.with_name("00009-of-00010.tar")], SPEC)
    audio = TrackAudio([tar], SPEC)
    with pytest.raises(ValueError, match="no prepared audio of corpus made, bucket 00001-of-00002 was given"):
        audio.read([{**line, "bucket": "00001-of-00002"}], [0], 4)
    with pytest.raises(ValueError, match=r"00000-of-00001\.tar: holds no f{32}\.flac \(song 0\.wav\); delete it"):
        audio.read([{**line, "track": "f" * 32}], [0], 4)
    with pytest.raises(ValueError, match=rf"{line['track']}\.flac: \d+ of 3200 samples from sample \d+ at 16000 Hz"):
        longer = {**line, "num_samples": line["num_samples"] + 10 * HOP}
        audio.read([longer], [line["num_samples"] // HOP - 2], 10)


@pytest.mark.parametrize("damage", ["cut", "header", "samples", "name"])
def test_damage_is_named(damage: str, tmp_path: Path, corpus: tuple[Path, Path, Path]) -> None:
    lines = read_lines(corpus[0])
    path = tmp_path / "made" / corpus[2].name
    path.parent.mkdir()
    data = bytearray(corpus[2].read_bytes())
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "header":
        data[148:156] = b"notoctal"
        path.write_bytes(data)
    elif damage == "samples":
        middle = data.index(b"fLaC") + 3000
        data[middle : middle + 400] = bytes(400)
        path.write_bytes(data)
    else:
        with open_shard(path) as shard:
            shard.add("cover.jpg", b"x")
    with pytest.raises(ValueError, match=rf"{path}.*(damaged|corrupt|flac|cut short)"):
        for line in lines:
            TrackAudio([path], SPEC).read([line], [0], 120)


def test_a_tar_cut_short_while_it_is_open(tmp_path: Path, corpus: tuple[Path, Path, Path]) -> None:
    line = max(read_lines(corpus[0]), key=lambda line: line["track"])
    path = tmp_path / "made" / corpus[2].name
    path.parent.mkdir()
    path.write_bytes(corpus[2].read_bytes())
    audio = TrackAudio([path], SPEC)
    audio.read([line], [0], 4)
    path.write_bytes(corpus[2].read_bytes()[:2000])
    with pytest.raises(native.CorruptAudioError, match=rf"{line['track']}\.flac: .*which has 2000: cut short"):
        audio.read([line], [0], 4)
