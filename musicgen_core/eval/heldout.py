"""The fixed held-out segments that every figure is measured on: which they are, their codes and their audio.

Legend: K codebooks, T frames, C channels, N samples.
"""

from __future__ import annotations

import itertools
import math
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from musicgen_core import native
from musicgen_core.data.manifest import ManifestRecord, read_manifest


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A piece of a held-out track, in frames of the codec."""

    record: ManifestRecord
    start_frame: int
    num_frames: int


def read_split(manifests: Sequence[Path], split: str) -> list[ManifestRecord]:
    """All records of one split over the corpora. ValueError when there is none."""
    records = [record for folder in manifests for record in read_manifest(Path(folder) / f"{split}.jsonl")]
    if not records:
        folders = ", ".join(str(folder) for folder in manifests)
        raise ValueError(
            f"the {split} split holds 0 tracks but evaluation needs at least 1 (in {folders}): "
            f"raise data.{split}_fraction or add tracks"
        )
    return records


def open_indexes(indexes: Sequence[Path], codec_digest: str) -> dict[str, native.TokenShards]:
    """Token shards by corpus, the name of the index's folder. ValueError when one was made by another codec."""
    shards = {}
    for path in map(Path, indexes):
        opened = native.TokenShards(path)
        if opened.codec_digest != codec_digest:
            raise ValueError(
                f"{path}: tokens are of codec {opened.codec_digest}, the model was trained on codec {codec_digest}: "
                f"tokenise again, or evaluate with the codec of the training"
            )
        shards[path.parent.name] = opened
    return shards


def choose_segments(
    records: Sequence[ManifestRecord],
    shards: Mapping[str, native.TokenShards],
    segment_frames: int,
    count: int,
    seed: int,
) -> list[Segment]:
    """At most `count` pieces of at most `segment_frames` frames; no token is in two of them.

    Each track is cut into equal pieces without gap or overlap. A hash of (seed, track, start) puts them in order, so
    that the first n are a fair draw of the whole for every n, and the order does not depend on the manifests' order.
    """
    frames = {corpus: opened.num_frames for corpus, opened in shards.items()}
    pieces = [
        (native.hash_bytes(f"{seed}:{record.track}:{start}".encode()), record, start, length)
        for record in records
        for start, length in _cut(int(frames[record.corpus][find_track(record, shards)]), segment_frames)
    ]
    pieces.sort(key=lambda piece: piece[0])
    return [Segment(record=record, start_frame=start, num_frames=length) for _, record, start, length in pieces[:count]]


def read_codes(segment: Segment, shards: Mapping[str, native.TokenShards]) -> np.ndarray:
    """codes_KT, int64."""
    track = find_track(segment.record, shards)
    return shards[segment.record.corpus].read(track, segment.start_frame, segment.num_frames).astype(np.int64)


def find_track(record: ManifestRecord, shards: Mapping[str, native.TokenShards]) -> int:
    """Number of a track in its corpus's index. ValueError when the index does not hold it."""
    try:
        return shards[record.corpus].find(record.track)
    except KeyError:
        raise ValueError(
            f"{record.path} ({record.track}) is in the manifest of {record.corpus} but not in its token index: "
            f"re-run the index stage"
        ) from None


def read_audio(segments: Sequence[Segment], audio: Sequence[Path], hop_samples: int) -> list[np.ndarray]:
    """wav_CN (float32, at the codec's rate) of each segment, from the prepared tars `CORPUS/BUCKET.tar`.

    Raises FileNotFoundError when a segment's bucket is not among `audio`, ValueError when its track is not in it.
    """
    tars = {(path.parent.name, path.stem): path for path in map(Path, audio)}
    members: dict[tuple[str, str], list[int]] = {}
    for index, segment in enumerate(segments):
        members.setdefault((segment.record.corpus, segment.record.bucket), []).append(index)
    wavs: dict[int, np.ndarray] = {}
    for bucket, indexes in members.items():
        if bucket not in tars:
            raise FileNotFoundError(f"no prepared audio of corpus {bucket[0]}, bucket {bucket[1]} was given")
        wavs |= _read_bucket(tars[bucket], {i: segments[i] for i in indexes}, hop_samples)
    return [wavs[i] for i in range(len(segments))]


def _cut(num_frames: int, segment_frames: int) -> list[tuple[int, int]]:
    """(start, length) of the equal pieces of a track; lengths differ by one frame at most."""
    num_pieces = math.ceil(num_frames / segment_frames)
    edges = [num_frames * i // num_pieces for i in range(num_pieces + 1)] if num_pieces else []
    return [(start, end - start) for start, end in itertools.pairwise(edges)]


def _read_bucket(path: Path, wanted: Mapping[int, Segment], hop_samples: int) -> dict[int, np.ndarray]:
    by_member: dict[str, list[int]] = {}
    for index, segment in wanted.items():
        by_member.setdefault(f"{segment.record.track}.flac", []).append(index)
    wavs = {}
    with tarfile.open(path) as tar:
        for member in tar:
            for_track = by_member.pop(member.name, None)
            if for_track is None:
                continue
            handle = tar.extractfile(member)
            if handle is None:
                raise ValueError(f"{path}: {member.name} is not a file")
            wav_CN, _ = native.decode(handle.read(), name=f"{path}/{member.name}")
            for index in for_track:
                start = wanted[index].start_frame * hop_samples
                wavs[index] = wav_CN[:, start : start + wanted[index].num_frames * hop_samples].copy()
            if not by_member:
                break
    if by_member:
        raise ValueError(f"{path}: holds no {', '.join(sorted(by_member))}: re-run the resample stage of this bucket")
    return wavs
