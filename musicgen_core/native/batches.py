"""Which tracks there are, which segments are drawn from them, and batches of their codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicgen_core import _rust_loader
from musicgen_core.native.shards import TokenShards
from musicgen_core.native.types import PathLike


def write_track_list(
    manifest: PathLike, keys: Sequence[str] | bytes, num_samples: ArrayLike, weights: ArrayLike
) -> None:
    """Writes the table of a manifest beside it (`train.jsonl` -> `train.tracks`), atomically; see docs/formats.md.

    Args:
        manifest: JSON Lines; line n is track n.
        keys: 32 hex digits per track, or 16 bytes per track end to end.
        num_samples: length of each track, int64 [tracks].
        weights: relative weight of each track, float64 [tracks].

    Raises:
        ValueError: the columns are not as long as the manifest, or hold a negative length, or a weight that is negative
            or not finite; names the line.
        FileNotFoundError, OSError: the manifest cannot be read, or the table not written.
    """
    raw = keys if isinstance(keys, bytes) else bytes.fromhex("".join(keys))
    num_samples = np.ascontiguousarray(num_samples, dtype=np.int64)
    _rust_loader.write_track_list(manifest, raw, num_samples, np.ascontiguousarray(weights, dtype=np.float64))


class TrackList:
    """The table of a manifest, memory-mapped. Can be pickled, and is safe to use after fork and from several threads.

    Table and manifest must be replaced by renaming, never rewritten in place, while they are open.
    """

    def __init__(self, manifest: PathLike) -> None:
        """Opens the table beside a manifest: O(1), whatever the number of tracks.

        Raises:
            FileNotFoundError: there is no such manifest or no table beside it.
            ShardError: it is no table, or of a manifest of another size.
        """
        self.manifest = Path(manifest)
        self._open = _rust_loader.TrackList(self.manifest)
        self.num_tracks: int = self._open.num_tracks
        self.total_samples: int = self._open.total_samples
        self.longest_samples: int = self._open.longest_samples
        self.manifest_digest: str = self._open.manifest_digest  # 32 hex digits

    def __reduce__(self) -> tuple[Any, ...]:
        return TrackList, (self.manifest,)

    def __len__(self) -> int:
        return self.num_tracks

    def key(self, track: int) -> str:
        """32 hex digits. ValueError: no such track."""
        return self._open.key(track)

    def line(self, track: int) -> bytes:
        """The track's line of the manifest, read now. ValueError: no such track; ShardError: the manifest changed."""
        return self._open.line(track)


@dataclass(frozen=True)
class Segments:
    """Drawn segments; every column is int64 [B]."""

    epochs: NDArray[np.int64]
    indexes: NDArray[np.int64]
    lists: NDArray[np.int64]
    """Which list of tracks, and so which index of tokens, the track is in."""

    tracks: NDArray[np.int64]
    """Number of the track in its list."""

    rows: NDArray[np.int64]
    """Number of the track in its index of tokens."""

    starts: NDArray[np.int64]
    """First frame."""

    num_valid: NDArray[np.int64]
    """Frames of the segment that lie inside the track."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: slice | NDArray[np.int64]) -> Segments:
        return Segments(*(getattr(self, field.name)[at] for field in fields(self)))


class TokenSampler:
    """Draws segments from tracks, and cuts their codes out of memory-mapped shards.

    Sample n of a run is sample (epoch, index) = divmod(n, epoch_samples). Its Philox block (key (seed, stream), counter
    (epoch, index, 0, 0)) decides all: word 0 chooses the track, word 1 the start, uniform in
    [0, max(0, frames - ceil(segment_frames * min_segment_ratio))]. So any part can be drawn anywhere, in any order.

    Can be pickled, and is safe to use after fork and from several threads.
    """

    def __init__(
        self,
        lists: Sequence[TrackList],
        shards: Sequence[TokenShards],
        *,
        seed: int,
        segment_frames: int,
        min_segment_ratio: float,
        num_codebooks: int,
        special: int,
        stream: int = 0,
        sample_by: Literal["track", "weight", "duration"] = "weight",
        replacement: bool = True,
        shares: Sequence[float] | None = None,
        epoch_samples: int | None = None,
        frame_KS: NDArray[np.int64] | None = None,
    ) -> None:
        """
        Args:
            lists, shards: the tracks of each corpus, and its tokens.
            segment_frames: T of a segment.
            min_segment_ratio: how much of a segment must lie inside its track, in [0, 1].
            num_codebooks: K.
            special: what stands where no code does.
            sample_by: a track's chance is the same for all, its weight, or its weight times its length in samples.
            replacement: False draws every track once before any comes again, in an order of its own for each pass
                (only by track).
            shares: share of the samples that each corpus gets, in any unit. Every 10,000 samples hold exactly these
                shares, in an order of their own. None: all corpora are one set of tracks.
            epoch_samples: samples per epoch; None: the number of tracks.
            frame_KS: the frame that each step of the pattern's sequence holds, -1 for none; None: no pattern, S = T.

        Raises:
            ValueError: no tracks, or an argument or a combination that makes no sense.
        """
        lists, shards = list(lists), list(shards)
        self._arguments = (
            (lists, shards),
            {
                "seed": seed,
                "stream": stream,
                "sample_by": sample_by,
                "replacement": replacement,
                "shares": None if shares is None else list(shares),
                "epoch_samples": epoch_samples,
                "segment_frames": segment_frames,
                "min_segment_ratio": min_segment_ratio,
                "num_codebooks": num_codebooks,
                "special": special,
                "frame_KS": frame_KS,
            },
        )
        self._open = _rust_loader.TokenSampler(
            [tracks._open for tracks in lists],
            [tokens._open for tokens in shards],
            seed,
            stream,
            sample_by,
            replacement,
            None if shares is None else list(shares),
            epoch_samples,
            segment_frames,
            min_segment_ratio,
            None if frame_KS is None else np.ascontiguousarray(frame_KS, dtype=np.int64),
            num_codebooks,
            special,
        )
        self.num_steps: int = self._open.num_steps  # S

    def __getstate__(self) -> Any:
        return self._arguments

    def __setstate__(self, arguments: Any) -> None:
        positional, named = arguments
        self.__init__(*positional, **named)  # type: ignore[misc]

    def check(self) -> None:
        """Finds every track in its token index; ShardError names one that is not there. O(tracks)."""
        self._open.check()

    def draw(self, first_sample: int, count: int) -> Segments:
        """Draws samples `first_sample .. first_sample + count`. ShardError: a track has no codes."""
        return Segments(*self._open.draw(first_sample, count))

    def cut(
        self,
        segments: Segments,
        out_BKS: NDArray[Any],
        mask_BKS: NDArray[np.bool_] | None = None,
        *,
        num_threads: int = 1,
    ) -> None:
        """Writes the codes of drawn segments into `out_BKS`: uint16, int16, int32 or int64 [B, K, S], C-contiguous,
        such as the numpy view of a pinned tensor. `mask_BKS` becomes True where a code stands.

        Raises:
            ValueError: the buffers have another shape or type, are read-only, or too small for `special`.
            ShardError: an index or a shard is damaged.
        """
        self._open.cut(segments.lists, segments.rows, segments.starts, out_BKS, mask_BKS, num_threads)

    def batch(
        self,
        first_sample: int,
        batch_size: int,
        out_BKS: NDArray[Any],
        mask_BKS: NDArray[np.bool_] | None = None,
        *,
        share: slice | None = None,
        num_threads: int = 1,
    ) -> Segments:
        """`draw` of a whole batch and `cut` of a share of it (all, if None), in one call. Returns the whole draw."""
        begin, end, _ = (share or slice(None)).indices(batch_size)
        return Segments(*self._open.batch(first_sample, batch_size, (begin, end), out_BKS, mask_BKS, num_threads))
