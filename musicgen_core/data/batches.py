"""Batches of codes for training and validation, straight from the memory-mapped token shards.

Which segment a sample is follows from (seed, epoch, index) alone: the state of a loader is one number, resuming costs
nothing, and the global order is the same for any number of processes, workers and threads. The samples have no end, and
a batch may run over the end of an epoch: no batch is short, and every process gets equally many.

    tracks = open_tracks([manifest_folder], [index_file], "train", codec_spec)
    dataset = TokenDataset(tracks, seed=0, batch_size=16, segment_frames=250, min_segment_ratio=0.8)
    for batch in DataLoader(dataset, batch_size=None, num_workers=2):   # or: for batch in dataset
        batch.codes_BKT                             # int64 [16, K, 250]; with pattern=..., also batch.sequence_BKS
        batch.next_sample                           # dataset.seek(this) continues after the batch

`BatchLoader(dataset, num_workers=2)` goes on pass after pass, knowing its place. `TokenBatches(dataset)` reads ahead in
a thread instead of in worker processes; the trainer uses that. `AudioSegments` draws from audio files in the same way.

Legend: B batch, K codebooks, T frames, S pattern steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from musicgen_core import native
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.sampling import SamplingConfig, check_sampling, normalise_mix
from musicgen_core.data.audio_segments import AudioBatch, AudioSegments
from musicgen_core.data.batch_dataset import BatchDataset, BatchesAhead
from musicgen_core.data.batch_loader import BatchLoader
from musicgen_core.data.buffers import empty
from musicgen_core.data.tracks import TrackTable
from musicgen_core.util.streams import SEGMENTS, VALID_SEGMENTS

__all__ = [
    "AudioBatch",
    "AudioSegments",
    "Batch",
    "BatchLoader",
    "BatchesAhead",
    "StepTable",
    "TokenBatches",
    "TokenDataset",
    "count_segment_frames",
    "valid_batches",
]


def count_segment_frames(segment_sec: float, codec: CodecSpec) -> int:
    """Frames of codes in a segment, at least 1."""
    return max(1, round(segment_sec * codec.frame_rate_hz))


class StepTable(Protocol):
    """What a loader needs of a codebook pattern; patterns/layout.py makes them."""

    def frame_KS(self, keep_only_valid: bool) -> np.ndarray: ...


@dataclass(frozen=True)
class Batch:
    """One process's share of one global batch."""

    codes_BKT: Tensor
    """int64; `card` after a track's end."""

    mask_BT: Tensor
    """bool, True at frames of the track."""

    captions: list[str | None]
    tracks: list[str]
    """Keys."""

    lines: list[dict[str, Any]]
    """Of the manifest: what else is known of each track."""

    starts_B: np.ndarray
    """int64: first frame of each segment in its track."""

    epochs_B: np.ndarray
    indexes_B: np.ndarray
    """int64; with the seed, all that randomness may depend on."""

    global_num_valid: np.ndarray
    """int64: valid frames of every sample of the global batch, known to each process without asking the others."""

    digest: str
    """Of the global batch's (track, start) pairs: two runs that agree on it drew the same samples."""

    next_sample: int
    """Number of the sample after the global batch: the state of whoever has used this batch."""

    sequence_BKS: Tensor | None = None
    """int64: the codes laid out along the pattern's steps, cut for training; `card` where none stands. None when the
    loader was given no pattern."""

    def split(self, size: int) -> Iterator[Batch]:
        """Cut into micro-batches of `size` samples."""
        for first in range(0, len(self.tracks), size):
            s = slice(first, first + size)
            yield dataclasses.replace(
                self,
                codes_BKT=self.codes_BKT[s],
                mask_BT=self.mask_BT[s],
                captions=self.captions[s],
                tracks=self.tracks[s],
                lines=self.lines[s],
                starts_B=self.starts_B[s],
                epochs_B=self.epochs_B[s],
                indexes_B=self.indexes_B[s],
                sequence_BKS=None if self.sequence_BKS is None else self.sequence_BKS[s],
            )

    def pin_memory(self) -> Batch:
        """What DataLoader(pin_memory=True) calls."""
        return dataclasses.replace(
            self,
            codes_BKT=self.codes_BKT.pin_memory(),
            mask_BT=self.mask_BT.pin_memory(),
            sequence_BKS=None if self.sequence_BKS is None else self.sequence_BKS.pin_memory(),
        )


class TokenDataset(BatchDataset[Batch]):
    """This process's share of each global batch of codes; see BatchDataset for loops, workers and state.

    Sample number n of the run is sample (epoch, index) = divmod(n, number of tracks); the process takes its contiguous
    share of the `batch_size` samples.

    `pattern` also lays the codes out along its steps. `pin_memory` writes into page-locked memory, for
    `to(device, non_blocking=True)`. `num_threads` cut a batch's segments in parallel: for shards on slow disks.

    Raises ValueError when batch_size does not divide by world_size, or the sampling does not fit the corpora.
    """

    def __init__(
        self,
        tracks: TrackTable,
        *,
        seed: int,
        batch_size: int,
        segment_frames: int,
        min_segment_ratio: float,
        sampling: SamplingConfig | None = None,
        rank: int = 0,
        world_size: int = 1,
        num_batches: int | None = None,
        pattern: StepTable | None = None,
        pin_memory: bool = False,
        num_threads: int = 1,
    ) -> None:
        super().__init__(batch_size, num_batches, rank, world_size)
        sampling = sampling or SamplingConfig()
        check_sampling(sampling, tracks.corpora)
        mix = None if sampling.mix is None else normalise_mix(sampling.mix, tracks.corpora)
        self._tracks, self._pin_memory, self._num_threads = tracks, pin_memory, num_threads
        self._segment_frames = segment_frames
        options = {
            "seed": seed,
            "stream": SEGMENTS,
            "sample_by": sampling.by,
            "replacement": sampling.replacement,
            "shares": None if mix is None else list(mix.values()),
            "segment_frames": segment_frames,
            "min_segment_ratio": min_segment_ratio,
        }
        self._sampler = tracks.sampler(**options)
        self._layout = None if pattern is None else tracks.sampler(**options, frame_KS=pattern.frame_KS(True))

    def read(self, first_sample: int) -> Batch:
        # Memory of its own for each batch, from torch's cache: whoever still holds an older batch keeps it unchanged.
        codes_BKT = self._allocate(self._segment_frames)
        drawn = self._sampler.batch(
            first_sample, self.batch_size, codes_BKT.numpy(), share=self._share, num_threads=self._num_threads
        )
        sequence_BKS = None
        if self._layout is not None:
            sequence_BKS = self._allocate(self._layout.num_steps)
            self._layout.cut(drawn[self._share], sequence_BKS.numpy(), num_threads=self._num_threads)
        mask_BT = _mask_frames(drawn.num_valid[self._share], self._segment_frames)
        mask_BT = mask_BT.pin_memory() if self._pin_memory else mask_BT
        next_sample = first_sample + self.batch_size
        return _make_batch(self._tracks, codes_BKT, sequence_BKS, mask_BT, drawn, self._share, next_sample)

    def _allocate(self, length: int) -> Tensor:
        shape = (self._share.stop - self._share.start, self._tracks.codec.num_codebooks, length)
        return empty(shape, torch.int64, self._pin_memory)


class TokenBatches(BatchesAhead[Batch]):
    """Endless iterator over a TokenDataset's batches, read ahead in a thread: what the trainer uses."""


def valid_batches(
    tracks: TrackTable,
    *,
    num_segments: int,
    batch_size: int,
    segment_frames: int,
    min_segment_ratio: float,
    rank: int = 0,
    world_size: int = 1,
    pattern: StepTable | None = None,
) -> Iterator[Batch]:
    """Fixed validation segments: functions of their number alone, the same for each validation, run and world size.

    Every process gets equally many batches of `batch_size`, since each of them is a collective forward pass; samples
    beyond the last segment repeat segments with nothing valid, and so weigh nothing.
    """
    options = {
        "seed": 0,
        "stream": VALID_SEGMENTS,
        "sample_by": "track",
        "epoch_samples": num_segments,
        "segment_frames": segment_frames,
        "min_segment_ratio": min_segment_ratio,
    }
    sampler = tracks.sampler(**options)
    layout = None if pattern is None else tracks.sampler(**options, frame_KS=pattern.frame_KS(True))
    drawn = sampler.draw(0, num_segments)
    rows, per_round = (batch_size, tracks.codec.num_codebooks), batch_size * world_size
    for first in range(0, num_segments, per_round):
        numbers = np.arange(first + rank * batch_size, first + (rank + 1) * batch_size)
        share = numbers % num_segments
        codes_BKT = torch.empty((*rows, segment_frames), dtype=torch.int64)
        sampler.cut(drawn[share], codes_BKT.numpy())
        sequence_BKS = None
        if layout is not None:
            sequence_BKS = torch.empty((*rows, layout.num_steps), dtype=torch.int64)
            layout.cut(drawn[share], sequence_BKS.numpy())
        mask_BT = _mask_frames(np.where(numbers < num_segments, drawn.num_valid[share], 0), segment_frames)
        yield _make_batch(tracks, codes_BKT, sequence_BKS, mask_BT, drawn, share, first + per_round)


def _mask_frames(num_valid_B: np.ndarray, num_frames: int) -> Tensor:
    return torch.from_numpy(np.arange(num_frames)[None] < num_valid_B[:, None])


def _make_batch(
    tracks: TrackTable,
    codes_BKT: Tensor,
    sequence_BKS: Tensor | None,
    mask_BT: Tensor,
    drawn: native.Segments,
    share: slice | np.ndarray,
    next_sample: int,
) -> Batch:
    lines = tracks.read_lines(drawn[share])
    return Batch(
        codes_BKT=codes_BKT,
        mask_BT=mask_BT,
        captions=[line.get("caption") for line in lines],
        tracks=[line["track"] for line in lines],
        lines=lines,
        starts_B=drawn.starts[share],
        epochs_B=drawn.epochs[share],
        indexes_B=drawn.indexes[share],
        global_num_valid=drawn.num_valid,
        digest=native.hash_bytes(tracks.number(drawn).tobytes() + drawn.starts.tobytes()),
        next_sample=next_sample,
        sequence_BKS=sequence_BKS,
    )
