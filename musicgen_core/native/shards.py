"""Token shards and their index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicgen_core import _rust_loader
from musicgen_core.native.types import PathLike


def write_token_index(out: Path, shards: Sequence[Path], codec_digest: str, card: int) -> None:
    """Scans token shards (tars with `{key}.codes.npy`, uint16 [K, T]) and writes their index, atomically.

    The format is in docs/formats.md. The index names shards relative to its own folder and sorts them by name, so the
    order of `shards` does not matter.

    Args:
        codec_digest: 32 hex digits.
        card: entries per codebook; every code must be below it.

    Raises:
        ShardError: a shard is truncated, or holds another dtype, shape or K, codes beyond `card`, or a key twice.
        FileNotFoundError, OSError: a shard cannot be read, or the index not written.
        ValueError: an argument is wrong.
    """
    _rust_loader.write_token_index(out, list(shards), codec_digest, card)


class TokenShards:
    """Codes of all tracks of an index, read from memory-mapped shards. Can be pickled (it opens the index again) and is
    safe to use after fork and from several threads.

    Shards must be replaced by renaming, never rewritten in place, while one is open.
    """

    def __init__(self, index_path: PathLike) -> None:
        """Opens an index, and compares it with the digest at its end (48 bytes per track are read). A track's codes are
        compared with their digest when they are first read here; `read` and `batch` then raise ShardError.

        Raises:
            FileNotFoundError: the index or one of its shards is missing.
            ShardError: it is no index, or a shard's size is not what it says.
        """
        self._index_path = Path(index_path)
        self._open = _rust_loader.TokenShards(self._index_path)
        self.num_tracks: int = self._open.num_tracks
        self.num_codebooks: int = self._open.num_codebooks  # 0 for an index without tracks
        self.card: int = self._open.card  # codes lie in [0, card)
        self.codec_digest: str = self._open.codec_digest  # 32 hex digits

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenShards, (self._index_path,)

    def __len__(self) -> int:
        return self.num_tracks

    @property
    def keys(self) -> list[str]:
        """32 hex digits per track, ascending; a track's number is its place here. Built at each call: O(tracks)."""
        return self._open.keys

    @property
    def num_frames(self) -> NDArray[np.int64]:
        """int64 [tracks]. Built at each call: O(tracks)."""
        return self._open.num_frames

    def find(self, key: str) -> int:
        """Number of the track with this key, by binary search; KeyError when there is none."""
        return self._open.find(key)

    def read(self, track: int, start: int = 0, num_frames: int | None = None) -> NDArray[np.uint16]:
        """Codes [K, T] of one track from frame `start`; T is smaller than num_frames at its end, and 0 beyond it.

        Raises:
            ValueError: no such track, or a negative start.
        """
        if num_frames is not None and num_frames < 0:
            raise ValueError(f"num_frames is {num_frames}; it must not be negative")
        return self._open.read(track, start, num_frames)

    def verify(self) -> None:
        """Reads every byte and compares all digests; ShardError names the shard, or the track, that is wrong."""
        self._open.verify()
