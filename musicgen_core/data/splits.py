"""Which split and which bucket a track falls into: pure functions of its group and a salt, by BLAKE3.

Tracks of one group (artist, album, or the track alone) never cross splits, and adding a track moves no other.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple

from musicgen_core import native
from musicgen_core.data.records import Music

SPLITS = ("train", "valid", "evaluate")


class Splits(NamedTuple):
    """The splits of all groups of a corpus."""

    by_group: dict[str, str]

    spare: int
    """Groups of the split that has fewest; 0 where one had to borrow. While fewer groups go, `place_group` alone tells
    where each of the others is."""


def find_group(track: str, music: Music, group_by: Literal["artist", "album", "track"]) -> str:
    """Name the group of a track. An album is told apart by its artist, and stands in for an artist that is not named;
    without either a track is its own group."""
    if group_by == "artist" and music.artist:
        return f"artist:{_fold(music.artist)}"
    if group_by in ("artist", "album") and music.album:
        return f"album:{_fold(music.artist or '')}\n{_fold(music.album)}"
    return f"track:{track}"


def assign_splits(groups: Collection[str], salt: str, valid_fraction: float, evaluate_fraction: float) -> Splits:
    """Assign each group to train, valid or evaluate.

    Every group has a place u in [0, 1) by hash: u < evaluate_fraction is evaluate, the next valid_fraction is valid,
    the rest is train. Where a small corpus would leave a split empty, the groups nearest to it by u are taken: at least
    one group each. Raises ValueError when there are fewer than three groups.
    """
    ordered = sorted((hash_unit(group, f"split:{salt}"), group) for group in set(groups))
    if len(ordered) < 3:
        raise ValueError(
            f"{len(ordered)} group(s), but train, valid and evaluate need at least 3: add music by other artists, or "
            "set group_by: track if pieces by one artist may fall on both sides"
        )
    below = (
        sum(u < evaluate_fraction for u, _ in ordered),
        sum(u < evaluate_fraction + valid_fraction for u, _ in ordered),
    )
    num_evaluate = max(1, below[0])
    end_valid = max(num_evaluate + 1, below[1])
    end_valid = min(end_valid, len(ordered) - 1)
    num_evaluate = min(num_evaluate, end_valid - 1)
    by_group = {
        group: "evaluate" if i < num_evaluate else "valid" if i < end_valid else "train"
        for i, (_, group) in enumerate(ordered)
    }
    return Splits(by_group, min(below[0], below[1] - below[0], len(ordered) - below[1]))


def place_group(group: str, salt: str, valid_fraction: float, evaluate_fraction: float) -> str:
    """The split of a group by its own hash, as `assign_splits` finds it where no split would be empty."""
    u = hash_unit(group, f"split:{salt}")
    return "evaluate" if u < evaluate_fraction else "valid" if u < evaluate_fraction + valid_fraction else "train"


def find_bucket(group: str, num_buckets: int) -> str:
    """Name the bucket of a group, such as 00003-of-00016. The count is in the name: shards of two counts never mix."""
    return f"{int(hash_unit(group, 'bucket') * num_buckets):05d}-of-{num_buckets:05d}"


def hash_unit(text: str, salt: str) -> float:
    """Hash to [0, 1), uniformly, with 53 bits."""
    return (int(native.hash_bytes(f"{salt}\n{text}".encode())[:16], 16) >> 11) * 2.0**-53


def _fold(name: str) -> str:
    return " ".join(name.casefold().split())
