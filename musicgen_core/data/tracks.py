"""The tracks of one split over all corpora, without reading them: tables and tokens are memory-mapped, a line of a
manifest is read when it is asked for. Opening costs the same for ten tracks as for a million.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_core import native
from musicgen_core.config.data import CodecSpec
from musicgen_core.util.digest import digest_file
from musicgen_core.util.receipt import find_change


@dataclass(frozen=True)
class TrackTable:
    """The tracks of one split. Can be pickled."""

    codec: CodecSpec
    corpora: tuple[str, ...]
    """Names of the corpora: those of the manifests' folders."""

    lists: tuple[native.TrackList, ...]
    """The tracks of each corpus."""

    shards: tuple[native.TokenShards, ...]
    """The tokens of each corpus."""

    @property
    def num_tracks(self) -> int:
        return sum(len(tracks) for tracks in self.lists)

    @property
    def total_sec(self) -> float:
        return sum(tracks.total_samples for tracks in self.lists) / self.codec.sample_rate_hz

    @property
    def longest_sec(self) -> float:
        return max(tracks.longest_samples for tracks in self.lists) / self.codec.sample_rate_hz

    def number(self, segments: native.Segments) -> np.ndarray:
        """Number the tracks of segments through all corpora, int64 [B]."""
        first = np.array([0, *accumulate(len(tracks) for tracks in self.lists)], dtype=np.int64)
        return first[segments.lists] + segments.tracks

    def read_lines(self, segments: native.Segments) -> list[dict[str, Any]]:
        """Read each segment's line of its manifest. Raises ValueError when that is of another track than the table."""
        return [self._read_line(*pair) for pair in zip(segments.lists.tolist(), segments.tracks.tolist(), strict=True)]

    def sampler(self, **options: Any) -> native.TokenSampler:
        """Draw from these tracks; options as of `native.TokenSampler`."""
        codec = self.codec
        return native.TokenSampler(
            self.lists, self.shards, num_codebooks=codec.num_codebooks, special=codec.card, **options
        )

    def check(self) -> None:
        """Read all manifests and their tables, and look up every track: O(tracks), once per run.

        Raises ValueError that names a table which is not of its manifest, or not as the manifest stage left it (by the
        stage's receipt: one flipped bit of a weight would move draws), or a track without codes.
        """
        for tracks in self.lists:
            table = tracks.manifest.with_suffix(".tracks")
            if difference := find_change(table):
                raise ValueError(f"{table}: {difference}; {_REMEDY}")
            if digest_file(tracks.manifest) != tracks.manifest_digest:
                raise ValueError(f"{tracks.manifest}: changed since {tracks.manifest.stem}.tracks was made; {_REMEDY}")
        self.sampler(seed=0, segment_frames=1, min_segment_ratio=1.0, sample_by="track").check()

    def _read_line(self, number: int, track: int) -> dict[str, Any]:
        tracks = self.lists[number]
        try:
            line: dict[str, Any] = json.loads(tracks.line(track))
        except ValueError:  # the table's ends of lines are not this manifest's
            line = {}
        if line.get("track") != tracks.key(track):
            raise ValueError(f"{tracks.manifest}, line {track + 1}: not the track of its table; {_REMEDY}")
        return line


_REMEDY = "make the manifest again (snakemake --forcerun manifest)"


def open_tracks(manifests: Sequence[Path], indexes: Sequence[Path], split: str, codec: CodecSpec) -> TrackTable:
    """Open the tracks of a split: `manifests` are corpus folders with {split}.jsonl and {split}.tracks, `indexes` their
    token indexes.

    Raises ValueError when the counts differ, when codes come from another codec than `codec`, when a table is missing
    or of another manifest, or when the split is empty.
    """
    if len(manifests) != len(indexes) or not manifests:
        raise ValueError(
            f"{len(manifests)} manifest folders but {len(indexes)} token indexes; give one of each per corpus"
        )
    lists, shards = [], []
    for folder, index in zip(manifests, indexes, strict=True):
        manifest = Path(folder) / f"{split}.jsonl"
        if manifest.exists() and not manifest.with_suffix(".tracks").exists():
            raise ValueError(f"{manifest}: no {split}.tracks beside it; {_REMEDY}")
        lists.append(native.TrackList(manifest))
        shards.append(native.TokenShards(index))
        check_codec(shards[-1], codec, index)
    if not any(len(tracks) for tracks in lists):
        raise ValueError(
            f"no track in the {split} split of {', '.join(str(folder) for folder in manifests)}: with too few groups "
            "of tracks a split stays empty; add music, or group tracks one by one (corpora.*.group_by: track)"
        )
    return TrackTable(codec, tuple(Path(folder).name for folder in manifests), tuple(lists), tuple(shards))


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


def write_track_list(manifest: Path) -> None:
    """Write the table of a manifest beside it: keys, lengths, sums of weights, and where each line is.

    Raises ValueError that names the line which lacks `track` or `num_samples`, or has a bad `weight`.
    """
    keys, num_samples, weights = bytearray(), array("q"), array("d")
    with open(manifest, "rb") as handle:
        for number, line in enumerate(handle, 1):
            try:
                record = json.loads(line)
                key = bytes.fromhex(record["track"])
                if len(key) != 16:
                    raise ValueError(f"track {record['track']!r} is not 32 hex digits")
                keys += key
                num_samples.append(record["num_samples"])
                weights.append(1.0 if record.get("weight") is None else record["weight"])
            except KeyError as error:
                raise ValueError(f"{manifest}, line {number}: no {error}; not a line of a manifest") from None
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"{manifest}, line {number}: {error}") from None
    native.write_track_list(manifest, bytes(keys), np.asarray(num_samples), np.asarray(weights))
