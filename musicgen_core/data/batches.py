"""Batches of codes for training and validation, straight from the memory-mapped token shards.

Which segment a sample is follows from (seed, epoch, index) alone: the state of a loader is one number, resuming costs
nothing, and the global order is the same for any number of processes.

    tracks = open_tracks([manifest_folder], [index_file], "train", codec_spec)
    batches = TokenBatches(tracks, seed=0, batch_size=16, segment_frames=250, min_segment_ratio=0.8)
    batch = next(batches)                       # batch.codes_BKT: int64 [16, K, 250]; with pattern=..., sequence_BKS
    state = batches.state_dict()                # {"next_sample": 16}
    batches.load_state_dict(state)              # the next batch is the second one

Legend: B batch, K codebooks, T frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from musicgen_core import native
from musicgen_core.config.data import CodecSpec
from musicgen_core.data.manifest import read_manifest
from musicgen_core.util.streams import SEGMENTS, VALID_SEGMENTS

PREFETCHED_BATCHES = 2


def count_segment_frames(segment_sec: float, codec: CodecSpec) -> int:
    """Frames of codes in a segment, at least 1."""
    return max(1, round(segment_sec * codec.frame_rate_hz))


@dataclass(frozen=True)
class TrackTable:
    """The tracks of one split over all corpora, in the order of the manifests."""

    codec: CodecSpec
    shards: list[native.TokenShards]
    """One reader per corpus."""

    shard_N: np.ndarray
    """int64: which of `shards` holds the track."""

    row_N: np.ndarray
    """int64: the track's number inside that shard reader."""

    num_frames_N: np.ndarray
    """int64"""

    weights_N: np.ndarray | None
    """float64 relative weight of each track; None when all are equal."""

    keys: list[str]
    captions: list[str | None]

    def read(self, tracks_B: np.ndarray, starts_B: np.ndarray, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Cut segments -> (codes_BKT uint16, `card` where a track has ended; valid frames of each, int64 [B])."""
        card = self.codec.card
        codes_BKT = np.full((len(tracks_B), self.codec.num_codebooks, num_frames), card, dtype=np.uint16)
        num_valid_B = np.zeros(len(tracks_B), dtype=np.int64)
        for number, shard in enumerate(self.shards):
            here = np.flatnonzero(self.shard_N[tracks_B] == number)
            if len(here):
                rows = self.row_N[tracks_B[here]]
                codes_BKT[here], num_valid_B[here] = shard.batch(rows, starts_B[here], num_frames, card)
        return codes_BKT, num_valid_B


def open_tracks(manifests: Sequence[Path], indexes: Sequence[Path], split: str, codec: CodecSpec) -> TrackTable:
    """Open the tracks of a split: `manifests` are corpus folders with {split}.jsonl, `indexes` their token indexes.

    Raises ValueError when the counts differ, when codes come from another codec than `codec`, when a track of a
    manifest has no codes, or when the split is empty.
    """
    if len(manifests) != len(indexes) or not manifests:
        raise ValueError(
            f"{len(manifests)} manifest folders but {len(indexes)} token indexes; give one of each per corpus"
        )
    shards: list[native.TokenShards] = []
    numbers: list[int] = []
    rows: list[int] = []
    num_frames: list[int] = []
    weights: list[float] = []
    keys: list[str] = []
    captions: list[str | None] = []
    for number, (folder, index) in enumerate(zip(manifests, indexes, strict=True)):
        shard = native.TokenShards(index)
        check_codec(shard, codec, index)
        shards.append(shard)
        frames_of_row = shard.num_frames
        for record in read_manifest(Path(folder) / f"{split}.jsonl"):
            try:
                rows.append(shard.find(record.track))
            except KeyError:
                raise ValueError(
                    f"{folder}/{split}.jsonl: track {record.track} ({record.path}) has no codes in {index}; "
                    "tokenise the corpus again"
                ) from None
            numbers.append(number)
            num_frames.append(int(frames_of_row[rows[-1]]))
            keys.append(record.track)
            captions.append(record.caption)
            weights.append(float(record.weight if record.weight is not None else 1.0))
    if not keys:
        raise ValueError(
            f"no track in the {split} split of {', '.join(str(folder) for folder in manifests)}: with too few groups "
            "of tracks a split stays empty; add music, or group tracks one by one (corpora.*.group_by: track)"
        )
    return TrackTable(
        codec=codec,
        shards=shards,
        shard_N=np.asarray(numbers, dtype=np.int64),
        row_N=np.asarray(rows, dtype=np.int64),
        num_frames_N=np.asarray(num_frames, dtype=np.int64),
        weights_N=np.asarray(weights, dtype=np.float64) if len(set(weights)) > 1 else None,
        keys=keys,
        captions=captions,
    )


def check_codec(shard: native.TokenShards, codec: CodecSpec, index: Path) -> None:
    """Raise ValueError unless the codes were made by this codec."""
    if shard.codec_digest != codec.digest:
        raise ValueError(
            f"{index}: codes of codec {shard.codec_digest}, but the config's codec `{codec.name}` is {codec.digest}; "
            "tokenise again with this codec, or name the codec that the codes were made with"
        )
    if shard.num_tracks and (shard.num_codebooks, shard.card) != (codec.num_codebooks, codec.card):
        raise ValueError(
            f"{index}: {shard.num_codebooks} codebooks of {shard.card} codes, but codec `{codec.name}` has "
            f"{codec.num_codebooks} of {codec.card}; tokenise again"
        )


class StepTable(Protocol):
    """What a loader needs of a codebook pattern; patterns/layout.py makes them."""

    @property
    def step_KT(self) -> np.ndarray: ...

    @property
    def num_valid_steps(self) -> int: ...


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

    epochs_B: np.ndarray
    indexes_B: np.ndarray
    """int64; with the seed, all that randomness may depend on."""

    global_num_valid: np.ndarray
    """int64: valid frames of every sample of the global batch, known to each process without asking the others."""

    digest: str
    """Of the global batch's (track, start) pairs: two runs that agree on it drew the same samples."""

    sequence_BKS: Tensor | None = None
    """int64: the codes laid out along the pattern's steps, cut for training; `card` where none stands. None when the
    loader was given no pattern."""

    def split(self, size: int) -> Iterator[Batch]:
        """Cut into micro-batches of `size` samples."""
        for first in range(0, len(self.tracks), size):
            s = slice(first, first + size)
            yield Batch(
                self.codes_BKT[s],
                self.mask_BT[s],
                self.captions[s],
                self.tracks[s],
                self.epochs_B[s],
                self.indexes_B[s],
                self.global_num_valid,
                self.digest,
                self.sequence_BKS[s] if self.sequence_BKS is not None else None,
            )


class TokenBatches:
    """Endless iterator over this process's share of each global batch, read ahead in a thread, in order.

    Sample number n of the run is sample (epoch, index) = divmod(n, number of tracks); the process takes its contiguous
    share of the `batch_size` samples. The state counts batches handed out, not batches read ahead.
    Raises ValueError when batch_size does not divide by world_size.
    """

    def __init__(
        self,
        tracks: TrackTable,
        *,
        seed: int,
        batch_size: int,
        segment_frames: int,
        min_segment_ratio: float,
        rank: int = 0,
        world_size: int = 1,
        pattern: StepTable | None = None,
    ) -> None:
        if batch_size % world_size:
            raise ValueError(f"a batch of {batch_size} segments does not divide over {world_size} processes")
        self._tracks, self._seed, self._batch_size = tracks, seed, batch_size
        self._segment_frames, self._min_segment_ratio = segment_frames, min_segment_ratio
        self._pattern = pattern
        share = batch_size // world_size
        self._share = slice(rank * share, (rank + 1) * share)
        self._next_sample = 0
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._ahead: deque[Future[Batch]] = deque()

    def __iter__(self) -> TokenBatches:
        return self

    def __next__(self) -> Batch:
        while len(self._ahead) <= PREFETCHED_BATCHES:
            first = self._next_sample + len(self._ahead) * self._batch_size
            self._ahead.append(self._reader.submit(self._read, first))
        batch = self._ahead.popleft().result()
        self._next_sample += self._batch_size
        return batch

    def state_dict(self) -> dict[str, int]:
        return {"next_sample": self._next_sample}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._drop_ahead()
        self._next_sample = state["next_sample"]

    def close(self) -> None:
        self._drop_ahead()
        self._reader.shutdown()

    def __enter__(self) -> TokenBatches:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _drop_ahead(self) -> None:
        for future in self._ahead:
            future.cancel()
        self._ahead.clear()

    def _read(self, first_sample: int) -> Batch:
        """Draw the global batch that starts at this sample, and read this process's share of it."""
        num_tracks = len(self._tracks.keys)
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        samples_G = np.arange(first_sample, first_sample + self._batch_size, dtype=np.int64)
        epochs_G, indexes_G = samples_G // num_tracks, samples_G % num_tracks
        for epoch in range(int(epochs_G[0]), int(epochs_G[-1]) + 1):
            indexes = indexes_G[epochs_G == epoch]
            parts.append(self._draw(epoch, int(indexes[0]), len(indexes)))
        tracks_G, starts_G = (np.concatenate(column) for column in zip(*parts, strict=True))
        return _cut(
            self._tracks, tracks_G, starts_G, epochs_G, indexes_G, self._share, self._segment_frames, self._pattern
        )

    def _draw(self, epoch: int, first_index: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        return native.sample_segments(
            self._seed,
            epoch,
            first_index,
            count,
            self._tracks.num_frames_N,
            self._tracks.weights_N,
            self._segment_frames,
            self._min_segment_ratio,
            SEGMENTS,
        )


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
    tracks_G, starts_G = native.sample_segments(
        0, 0, 0, num_segments, tracks.num_frames_N, None, segment_frames, min_segment_ratio, VALID_SEGMENTS
    )
    indexes_G = np.arange(num_segments, dtype=np.int64)
    per_round = batch_size * world_size
    for first in range(0, num_segments, per_round):
        numbers = np.arange(first + rank * batch_size, first + (rank + 1) * batch_size)
        share = numbers % num_segments
        epochs_G = np.zeros_like(indexes_G)
        batch = _cut(tracks, tracks_G, starts_G, epochs_G, indexes_G, share, segment_frames, pattern)
        batch.mask_BT[torch.from_numpy(numbers >= num_segments)] = False
        yield batch


def _cut(
    tracks: TrackTable,
    tracks_G: np.ndarray,
    starts_G: np.ndarray,
    epochs_G: np.ndarray,
    indexes_G: np.ndarray,
    share: slice | np.ndarray,
    segment_frames: int,
    pattern: StepTable | None,
) -> Batch:
    mine = tracks_G[share]
    codes_BKT, num_valid_B = tracks.read(mine, starts_G[share], segment_frames)
    sequence_BKS = None
    if pattern is not None:
        laid_out, _ = native.interleave(codes_BKT, pattern.step_KT, pattern.num_valid_steps, tracks.codec.card)
        sequence_BKS = torch.from_numpy(laid_out.astype(np.int64))
    return Batch(
        codes_BKT=torch.from_numpy(codes_BKT.astype(np.int64)),
        mask_BT=torch.from_numpy(np.arange(segment_frames)[None] < num_valid_B[:, None]),
        captions=[tracks.captions[track] for track in mine],
        tracks=[tracks.keys[track] for track in mine],
        epochs_B=epochs_G[share],
        indexes_B=indexes_G[share],
        global_num_valid=np.minimum(tracks.num_frames_N[tracks_G] - starts_G, segment_frames),
        digest=native.hash_bytes(tracks_G.tobytes() + starts_G.tobytes()),
        sequence_BKS=sequence_BKS,
    )
