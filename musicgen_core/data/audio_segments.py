"""Random segments of audio files, decoded as they are drawn: to train a codec, or to condition on recordings.

Which segment a sample is follows from (seed, epoch, index) alone, as in data/batches.py, and the state is one number.

    segments = AudioSegments(paths, seed=0, batch_size=16, segment_sec=1.0, sample_rate_hz=32000, num_channels=1)
    for batch in DataLoader(segments, batch_size=None, num_workers=2):   # or: for batch in segments
        batch.wav_BCN                               # float32 [16, 1, 32000], 0 after a file's end; batch.mask_BN
        batch.next_sample                           # segments.seek(this) continues after the batch

`BatchLoader(segments, num_workers=2)` goes on pass after pass and knows its place; `BatchesAhead(segments)` reads ahead
in a thread instead of in worker processes. `musicgen train-codec` trains on these segments. The melody of a training
batch is read by `TrackAudio` instead, where the batch's codes come from; both decode by `cut_pieces`. A few kinds of
files are decoded from their start to the segment (see `native.decode_segment`), which takes long in long ones.

Legend: B batch, C channels, N samples.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from musicgen_core import native
from musicgen_core.data.audio_cut import AudioPiece, cut_pieces
from musicgen_core.data.batch_dataset import BatchDataset
from musicgen_core.data.buffers import empty
from musicgen_core.util.log import progress
from musicgen_core.util.streams import AUDIO_SEGMENTS


@dataclass(frozen=True)
class AudioBatch:
    """One process's share of one global batch."""

    wav_BCN: Tensor
    """float32, 0 after a file's end."""

    num_valid_B: Tensor
    """int64: samples that lie inside the file."""

    paths: list[Path]
    starts_B: np.ndarray
    """int64: first sample, at the rate of the segments."""

    epochs_B: np.ndarray
    indexes_B: np.ndarray
    """int64; with the seed, all that randomness may depend on."""

    next_sample: int
    """Number of the sample after the global batch: the state of whoever has used this batch."""

    @property
    def mask_BN(self) -> Tensor:
        """bool, True at samples of the file."""
        return torch.arange(self.wav_BCN.shape[2]) < self.num_valid_B[:, None]

    def pin_memory(self) -> AudioBatch:
        """What DataLoader(pin_memory=True) calls."""
        return AudioBatch(**{**vars(self), "wav_BCN": self.wav_BCN.pin_memory()})


class AudioSegments(BatchDataset[AudioBatch]):
    """This process's share of each global batch of segments; see BatchDataset for loops, workers and state.

    Sample number n of the run is sample (epoch, index) = divmod(n, number of files). Of its two draws from stream
    AUDIO_SEGMENTS the first chooses the file: each alike (`track`), or by its length (`duration`). The second chooses
    the start, uniform in [0, max(0, samples - ceil(segment * min_segment_ratio))].

    A segment is bit-equal to the same samples of `resample(mix(decode(path), num_channels), rate, sample_rate_hz)`.
    The headers of all files are read once, here. `num_threads` decode a batch's segments in parallel.

    Raises ValueError for no files or arguments that make no sense, and what `native.probe` raises. While iterating:
    what `native.read_segment` raises, and ValueError when a file is not as long as its header says. All name the
    file.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        seed: int,
        batch_size: int,
        segment_sec: float,
        sample_rate_hz: int,
        num_channels: int = 1,
        sample_by: Literal["track", "duration"] = "duration",
        min_segment_ratio: float = 1.0,
        rank: int = 0,
        world_size: int = 1,
        num_batches: int | None = None,
        num_threads: int = 1,
    ) -> None:
        super().__init__(batch_size, num_batches, rank, world_size)
        self.segment_samples = round(segment_sec * sample_rate_hz)
        if self.segment_samples < 1 or not 0 <= min_segment_ratio <= 1:
            raise ValueError(
                f"segment_sec {segment_sec:g} gives {self.segment_samples} samples and min_segment_ratio is "
                f"{min_segment_ratio:g}; give at least one sample, and a ratio in [0, 1]"
            )
        if sample_by not in ("track", "duration"):
            raise ValueError(f"sample_by is {sample_by!r}; choose track or duration")
        if not paths:
            raise ValueError("no audio files to draw segments from")
        self.paths = [Path(path) for path in paths]
        self.sample_rate_hz, self.num_channels = sample_rate_hz, num_channels
        self._seed, self._num_threads = seed, num_threads
        self.num_samples = _read_lengths(self.paths, sample_rate_hz, num_channels)
        weights = self.num_samples if sample_by == "duration" else np.ones_like(self.num_samples)
        self._ends = weights.cumsum()
        if self._ends[-1] == 0:
            raise ValueError(f"no sample in any of {len(self.paths)} files, the first of them {self.paths[0]}")
        self._spans = np.maximum(0, self.num_samples - ceil(self.segment_samples * min_segment_ratio)) + 1

    def read(self, first_sample: int) -> AudioBatch:
        numbers = first_sample + np.arange(self.batch_size)[self._share]
        epochs_B, indexes_B = np.divmod(numbers, len(self.paths))
        chosen = self._uniform(epochs_B, indexes_B, draw=0) * self._ends[-1]
        files_B = np.searchsorted(self._ends, chosen.astype(np.int64), side="right")
        starts_B = (self._uniform(epochs_B, indexes_B, draw=1) * self._spans[files_B]).astype(np.int64)
        wav_BCN, num_valid_B = self.cut(files_B, starts_B)
        paths = [self.paths[number] for number in files_B]
        return AudioBatch(wav_BCN, num_valid_B, paths, starts_B, epochs_B, indexes_B, first_sample + self.batch_size)

    def cut(self, files_B: np.ndarray, starts_B: np.ndarray) -> tuple[Tensor, Tensor]:
        """Segments of files by number, from these samples -> wav_BCN float32, 0 after a file's end; num_valid_B."""
        wav_BCN = empty((len(files_B), self.num_channels, self.segment_samples), torch.float32)
        num_valid_B = np.clip(self.num_samples[files_B] - starts_B, 0, self.segment_samples)

        pieces = [
            AudioPiece(self.paths[file], int(start), int(num_valid))
            for file, start, num_valid in zip(files_B, starts_B, num_valid_B, strict=True)
        ]
        cut_pieces(pieces, wav_BCN.numpy(), sample_rate_hz=self.sample_rate_hz, num_threads=self._num_threads)
        return wav_BCN, torch.from_numpy(num_valid_B)

    def _uniform(self, epochs_B: np.ndarray, indexes_B: np.ndarray, draw: int) -> np.ndarray:
        places_B = np.empty(len(epochs_B))
        for epoch in np.unique(epochs_B):
            same = epochs_B == epoch
            places_B[same] = native.uniform(self._seed, AUDIO_SEGMENTS, int(epoch), indexes_B[same], draw)
        return places_B


def _read_lengths(paths: list[Path], sample_rate_hz: int, num_channels: int) -> np.ndarray:
    """-> samples of each file at `sample_rate_hz`, int64 [files]."""
    num_samples = []
    for path in _progress_if_long(paths):
        info = native.probe(path)
        if 1 < info.num_channels < num_channels:
            raise ValueError(f"{path}: {info.num_channels} channels, but num_channels is {num_channels}; ask for fewer")
        # Matroska does not say how long it is
        length = native.decode(path)[0].shape[1] if info.num_samples is None else info.num_samples
        num_samples.append(length * sample_rate_hz // info.sample_rate_hz)
    return np.array(num_samples, dtype=np.int64)


def _progress_if_long(paths: list[Path], patience_sec: float = 3.0) -> Iterator[Path]:
    started = time.monotonic()
    for number, path in enumerate(paths):
        if time.monotonic() - started > patience_sec:
            yield from progress(paths[number:], "read headers")
            return
        yield path
