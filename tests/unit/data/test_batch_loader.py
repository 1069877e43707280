"""Passes over loaders with workers: the order of a plain loop, whatever the workers and wherever a pass was left."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from token_corpus import SPEC, write_corpus
from torch.utils.data import DataLoader

from musicgen_core.data.batch_dataset import BatchDataset
from musicgen_core.data.batches import AudioSegments, BatchLoader, TokenDataset
from musicgen_core.data.tracks import open_tracks

WORKERS: list[dict[str, Any]] = [
    {"num_workers": 0},
    {"num_workers": 2, "multiprocessing_context": "fork"},
    {"num_workers": 3, "multiprocessing_context": "fork", "prefetch_factor": 1},
    {"num_workers": 2, "multiprocessing_context": "fork", "persistent_workers": True},
]
IDS = ["none", "2 forked", "3 forked", "2 kept"]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork in a process with threads
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # more workers than cores
        yield


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("audio")
    for number in range(3):
        wav_N = np.random.default_rng(number).normal(0, 0.1, 9000 + 500 * number)
        soundfile.write(folder / f"{number}.wav", wav_N, 16000)
    return sorted(folder.glob("*.wav"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_corpus(tmp_path_factory.mktemp("corpus"), num_frames=60)


@pytest.fixture(params=["audio", "tokens"])
def dataset(request: pytest.FixtureRequest, paths: list[Path], corpus: tuple[Path, Path]) -> BatchDataset[Any]:
    """Three batches of two."""
    if request.param == "audio":
        return AudioSegments(paths, seed=1, batch_size=2, segment_sec=0.1, sample_rate_hz=16000, num_batches=3)
    tracks = open_tracks([corpus[0]], [corpus[1]], "train", SPEC)
    return TokenDataset(tracks, seed=1, batch_size=2, segment_frames=20, min_segment_ratio=0.8, num_batches=3)


def brief(batches: Iterable[Any]) -> list[tuple[int, list[int], float]]:
    """What tells batches apart: number, starts, content."""
    found = []
    for batch in batches:
        content = batch.wav_BCN if hasattr(batch, "wav_BCN") else batch.codes_BKT
        found.append((batch.next_sample, batch.starts_B.tolist(), float(content.double().sum())))
    return found


def plain(dataset: BatchDataset[Any], count: int) -> list[tuple[int, list[int], float]]:
    return brief(dataset.read(2 * number) for number in range(count))


@pytest.mark.parametrize("options", WORKERS, ids=IDS)
def test_passes_follow_each_other_and_resume_in_the_middle(dataset: BatchDataset[Any], options: dict[str, Any]) -> None:
    expected = plain(dataset, 12)
    loader = BatchLoader(dataset, **options)
    assert brief(loader) + brief(loader) == expected[:6]
    assert loader.state_dict() == {"next_sample": 12}
    assert brief(islice(loader, 1)) == expected[6:7]  # a pass that is left
    assert loader.state_dict() == {"next_sample": 14}
    assert brief(loader) == expected[7:10]
    loader.load_state_dict({"next_sample": 4})
    assert brief(loader) + brief(loader) == expected[2:8]


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_that_are_spawned_give_the_same(paths: list[Path], persistent: bool) -> None:
    options = {"seed": 1, "batch_size": 2, "segment_sec": 0.1, "sample_rate_hz": 16000, "num_batches": 3}
    dataset = AudioSegments(paths, **options)
    workers = {"num_workers": 1, "multiprocessing_context": "spawn", "persistent_workers": persistent}
    loader = BatchLoader(dataset, **workers)
    assert brief(loader) + brief(loader) == plain(dataset, 6)


@pytest.mark.parametrize("options", WORKERS[1:], ids=IDS[1:])
def test_a_second_pass_of_workers_that_know_nothing_is_refused(
    dataset: BatchDataset[Any], options: dict[str, Any]
) -> None:
    expected = plain(dataset, 6)
    loader = DataLoader(dataset, batch_size=None, **options)
    assert brief(loader) == expected[:3]
    with pytest.raises(ValueError, match=r"second pass over a DataLoader with workers.*BatchLoader.*dataset\.seek"):
        next(iter(loader))
    dataset.seek(6)
    assert brief(loader) == expected[3:]


def test_a_plain_loop_and_a_data_loader_without_workers_go_on(dataset: BatchDataset[Any]) -> None:
    expected = plain(dataset, 9)
    assert brief(dataset) + brief(DataLoader(dataset, batch_size=None)) == expected[:6]
    assert brief(pickle.loads(pickle.dumps(dataset))) == expected[6:]
    assert dataset.state_dict() == {"next_sample": 12}


def test_a_dataset_that_was_pickled_is_seen_by_its_workers(dataset: BatchDataset[Any]) -> None:
    copy = pickle.loads(pickle.dumps(dataset))
    loader = BatchLoader(copy, num_workers=2, multiprocessing_context="fork", persistent_workers=True)
    assert brief(loader) + brief(loader) == plain(dataset, 6)
    assert dataset.state_dict() == {"next_sample": 0}


def test_any_number_of_samples_is_a_place(dataset: BatchDataset[Any]) -> None:
    dataset.load_state_dict({"next_sample": 4_000_000_000})
    loader = BatchLoader(dataset, num_workers=2, multiprocessing_context="fork")
    assert next(iter(loader)).next_sample == 4_000_000_002
