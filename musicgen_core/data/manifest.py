"""The manifest: one line per track that is trained on or held out.

A line is a superset of AudioCraft's AudioMeta and MusicInfo, so that AudioCraft's loader reads the files as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from musicgen_core.data.records import PreparedRecord, Record, TrackRecord
from musicgen_core.util.atomic import read_jsonl

M = TypeVar("M", bound=Record)


@dataclass(frozen=True, kw_only=True)
class ManifestRecord(Record):
    """One track. The first six fields are AudioCraft's AudioMeta, the next nine its MusicInfo."""

    path: str
    """Relative to the corpus folder, with forward slashes."""

    duration: float
    """Decoded length of the source in seconds."""

    sample_rate: int
    """The source's own rate in Hz."""

    amplitude: float | None
    """Largest absolute sample of the source; 1.0 is full scale."""

    weight: float | None
    """Relative weight when segments are drawn."""

    info_path: None
    """Always null: AudioCraft's music data set looks beside the audio instead."""

    title: str | None
    artist: str | None
    key: str | None
    """The musical key; the track's digest is `track`."""

    bpm: float | None
    genre: str | None
    moods: list[str] | None
    keywords: list[str] | None
    description: str | None
    name: str | None
    instrument: str | None

    album: str | None
    track: str
    """Digest of the source file's bytes, 32 hex digits: the key in shards and indexes."""

    corpus: str
    split: str
    bucket: str
    caption: str | None
    """What the model is conditioned on: the description, or a text made of the other fields."""

    license: str | None
    num_samples: int
    """Length of the prepared audio at the codec's rate."""

    loudness_lufs: float | None
    """Integrated loudness of the prepared audio."""


def read_manifest(path: Path) -> list[ManifestRecord]:
    """Read a manifest. Raises ValueError that names the file and line that is not one."""
    return read_records(path, ManifestRecord)


def read_records(path: Path, kind: type[M]) -> list[M]:
    """Read a JSON Lines file of one kind of record. Raises ValueError that names the file and line."""
    records = []
    for number, line in enumerate(read_jsonl(path), 1):
        try:
            records.append(kind.from_dict(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    return records


def join_record(track: TrackRecord, prepared: PreparedRecord, corpus: str, weight: float) -> ManifestRecord:
    """Join what is said of a track with what was measured of it. Both must be of a used track.

    `weight` is the corpus's; the track's own multiplies it.
    """
    assert track.split is not None
    assert prepared.num_samples is not None
    assert prepared.duration_sec is not None
    assert prepared.sample_rate_hz is not None
    return ManifestRecord(
        path=track.path,
        duration=prepared.duration_sec,
        sample_rate=prepared.sample_rate_hz,
        amplitude=prepared.peak,
        weight=weight * (1.0 if track.weight is None else track.weight),
        info_path=None,
        title=track.title,
        artist=track.artist,
        key=track.key,
        bpm=track.bpm,
        genre=track.genre,
        moods=track.moods,
        keywords=track.keywords,
        description=track.description,
        name=track.name,
        instrument=track.instrument,
        album=track.album,
        track=track.track,
        corpus=corpus,
        split=track.split,
        bucket=track.bucket,
        caption=track.caption,
        license=track.license,
        num_samples=prepared.num_samples,
        loudness_lufs=prepared.loudness_lufs,
    )
