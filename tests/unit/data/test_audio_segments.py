"""Segments of audio files: slices of the whole, in an order that nothing but the seed decides."""

import os
import pickle
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from musicgen_core import native
from musicgen_core.data.audio_segments import AudioBatch, AudioSegments
from musicgen_core.data.batch_dataset import BatchesAhead
from musicgen_core.util.streams import AUDIO_SEGMENTS

FILES = [
    ("a.wav", 44100, 2, 30000),
    ("b.flac", 16000, 1, 40000),
    ("c.ogg", 48000, 2, 60000),
    ("d.mp3", 22050, 1, 25000),
    ("short.wav", 8000, 1, 900),
]
OPTIONS = {"seed": 5, "batch_size": 6, "segment_sec": 0.25, "sample_rate_hz": 16000}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("audio")
    random = np.random.default_rng(0)
    for name, rate_hz, num_channels, num_samples in FILES:
        soundfile.write(folder / name, random.normal(0, 0.1, (num_samples, num_channels)), rate_hz)
    return [folder / name for name, *_ in FILES]


def whole(path: Path, rate_hz: int = 16000, num_channels: int = 1) -> np.ndarray:
    wav_CN, file_hz = native.decode(path)
    return native.resample(native.mix(wav_CN, num_channels), file_hz, rate_hz)


def take(paths: list[Path], count: int, **options: object) -> list[AudioBatch]:
    with BatchesAhead(AudioSegments(paths, **{**OPTIONS, **options})) as batches:
        return list(islice(batches, count))


def same(one: AudioBatch, other: AudioBatch) -> bool:
    tensors = torch.equal(one.wav_BCN, other.wav_BCN) and torch.equal(one.num_valid_B, other.num_valid_B)
    return tensors and one.paths == other.paths and one.next_sample == other.next_sample


@pytest.mark.parametrize(("rate_hz", "num_channels"), [(16000, 1), (32000, 2), (11025, 1)])
@settings(max_examples=8, deadline=None)
@given(first=st.integers(0, 10**6), ratio=st.sampled_from([0.0, 0.8, 1.0]))
def test_segments_are_slices_of_the_whole(
    paths: list[Path], rate_hz: int, num_channels: int, first: int, ratio: float
) -> None:
    segments = AudioSegments(
        paths,
        **{**OPTIONS, "sample_rate_hz": rate_hz},
        num_channels=num_channels,
        min_segment_ratio=ratio,
        sample_by="track",
    )
    batch = segments.read(first)
    wholes = {path: whole(path, rate_hz, num_channels) for path in paths}
    assert [wav.shape[1] for wav in wholes.values()] == segments.num_samples.tolist()
    assert batch.wav_BCN.shape == (6, num_channels, segments.segment_samples)
    assert batch.mask_BN.sum(1).tolist() == batch.num_valid_B.tolist()
    for wav_CN, mask_N, path, start in zip(batch.wav_BCN, batch.mask_BN, batch.paths, batch.starts_B, strict=True):
        expected = wholes[path][:, start : start + segments.segment_samples]
        assert mask_N.sum() == expected.shape[1] >= min(wholes[path].shape[1], segments.segment_samples * ratio) - 1
        assert np.array_equal(wav_CN[:, mask_N], expected)
        assert not wav_CN[:, ~mask_N].any()


def test_cut_reads_any_place_to_the_last_sample(paths: list[Path]) -> None:
    segments = AudioSegments(paths, **OPTIONS)
    for number, path in enumerate(paths):
        length = segments.num_samples[number]
        starts = np.array([0, 1, length // 2, max(0, length - 4000), length - 1, length])
        wav_BCN, num_valid_B = segments.cut(np.full(6, number), starts)
        for wav_CN, start, num_valid in zip(wav_BCN, starts, num_valid_B, strict=True):
            assert num_valid == min(4000, length - start)
            assert np.array_equal(wav_CN[:, :num_valid], whole(path)[:, start : start + 4000])


def test_draws_follow_from_seed_epoch_and_index(paths: list[Path]) -> None:
    (batch,) = take(paths, 1, sample_by="track")
    assert batch.epochs_B.tolist() == [0] * 5 + [1]
    assert batch.indexes_B.tolist() == [0, 1, 2, 3, 4, 0]
    chosen = [int(native.uniform(5, AUDIO_SEGMENTS, e, [i])[0] * 5) for e, i in [(0, 0), (0, 1), (0, 4), (1, 0)]]
    assert [paths.index(batch.paths[n]) for n in (0, 1, 4, 5)] == chosen
    assert not same(batch, take(paths, 1, sample_by="track", seed=6)[0])


def test_chances_are_alike_or_by_duration(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_: AudioSegments, files_B: np.ndarray, starts_B: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(len(files_B), 1, 1), torch.from_numpy(starts_B)

    monkeypatch.setattr(AudioSegments, "cut", nothing)
    for sample_by in ("track", "duration"):
        segments = AudioSegments(paths, **{**OPTIONS, "batch_size": 20_000}, sample_by=sample_by)
        expected = segments.num_samples / segments.num_samples.sum() if sample_by == "duration" else np.full(5, 0.2)
        found = segments.read(0).paths
        assert np.allclose([found.count(path) / 20_000 for path in paths], expected, atol=0.015)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_out_the_same_global_batches(paths: list[Path], world_size: int) -> None:
    shares = [take(paths, 3, rank=rank, world_size=world_size, num_threads=1 + rank % 2) for rank in range(world_size)]
    for number, batch in enumerate(take(paths, 3)):
        parts = [share[number] for share in shares]
        assert torch.equal(torch.cat([part.wav_BCN for part in parts]), batch.wav_BCN)
        assert [path for part in parts for path in part.paths] == batch.paths
        assert {part.next_sample for part in parts} == {batch.next_sample}


@pytest.mark.parametrize(("num_workers", "context"), [(0, None), (2, "fork"), (3, "fork"), (2, "spawn")])
def test_a_data_loader_gives_the_same_batches_in_the_same_order(
    paths: list[Path], num_workers: int, context: str | None
) -> None:
    expected = take(paths, 6)
    segments = AudioSegments(paths, **OPTIONS, num_batches=5)
    segments.seek(expected[0].next_sample)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork in a process with threads
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # more workers than cores
        found = list(DataLoader(segments, batch_size=None, num_workers=num_workers, multiprocessing_context=context))
    assert len(found) == 5
    assert all(same(*pair) for pair in zip(found, expected[1:], strict=True))


def test_state_counts_what_was_handed_out_and_resumes_anywhere(paths: list[Path]) -> None:
    expected = take(paths, 4)
    plain = AudioSegments(paths, **OPTIONS)
    assert all(same(*pair) for pair in zip(islice(plain, 2), expected, strict=False))
    again = AudioSegments(paths, **OPTIONS)
    again.load_state_dict(plain.state_dict())
    assert same(next(iter(again)), expected[2])
    with BatchesAhead(again) as batches:
        batches.load_state_dict({"next_sample": 4_000_000_000})
        assert next(batches).epochs_B[0] == 800_000_000
        batches.load_state_dict({"next_sample": 18})
        assert same(next(batches), expected[3])
        assert batches.state_dict() == {"next_sample": 24}


def test_reading_ahead_goes_on_after_fork_and_pickle(paths: list[Path]) -> None:
    expected = take(paths, 3)
    with BatchesAhead(pickle.loads(pickle.dumps(AudioSegments(paths, **OPTIONS, num_threads=2)))) as batches:
        next(batches)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                os._exit(0 if same(next(batches), expected[1]) and same(next(batches), expected[2]) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert same(next(batches), expected[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 5, "world_size": 2}, "a batch of 5 segments does not divide over 2 processes"),
        ({"segment_sec": 0.0}, "segment_sec 0 gives 0 samples"),
        ({"min_segment_ratio": 1.5}, "min_segment_ratio is 1.5"),
        ({"sample_by": "weight"}, "sample_by is 'weight'; choose track or duration"),
        ({"num_channels": 3}, r"a.wav: 2 channels, but num_channels is 3"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(paths: list[Path], options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AudioSegments(paths, **{**OPTIONS, **options})
    with pytest.raises(ValueError, match="no audio files"):
        AudioSegments([], **OPTIONS)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_damaged_file_is_named(paths: list[Path], tmp_path: Path, num_threads: int) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"this is no audio, but long enough to look at" * 9)
    with pytest.raises(native.AudioError, match=r"bad\.wav"):
        AudioSegments([*paths, bad], **OPTIONS)
    bad.write_bytes(paths[0].read_bytes())
    segments = AudioSegments([bad], **OPTIONS, num_threads=num_threads)
    bad.write_bytes(paths[0].read_bytes()[:3000])
    for _ in range(2):  # asking again tries again
        with pytest.raises(ValueError, match=r"bad\.wav"):
            segments.read(0)
    bad.write_bytes(paths[4].read_bytes())
    with pytest.raises(ValueError, match=r"bad\.wav: \d+ of 4000 samples.*damaged, or replaced since"):
        segments.read(0)
    bad.unlink()
    with pytest.raises(FileNotFoundError, match=r"bad\.wav"):
        segments.read(0)
