"""What is known of one track, at each station on its way: found, planned, prepared."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

R = TypeVar("R", bound="Record")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of a JSON Lines file."""

    def to_dict(self) -> dict[str, Any]:
        # No field holds a record: asdict would copy each value deeply. vars() would give each record a dict to keep.
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls: type[R], line: dict[str, Any]) -> R:
        """Build from one parsed line; keys that a newer version may have added are left out.

        Raises ValueError that names the missing keys.
        """
        try:
            return cls(**{f.name: line[f.name] for f in fields(cls) if f.name in line})
        except TypeError as error:
            raise ValueError(f"not a {cls.__name__}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Music:
    """What a person would say of a track; the names and spellings of AudioCraft's MusicInfo, plus album and license."""

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    key: str | None = None
    """The musical key, such as `a minor`."""

    bpm: float | None = None
    genre: str | None = None
    moods: list[str] | None = None
    keywords: list[str] | None = None
    description: str | None = None
    name: str | None = None
    instrument: str | None = None
    license: str | None = None
    weight: float | None = None
    """How often segments of this track are drawn, relative to the corpus's others; None: 1."""


MUSIC_FIELDS = tuple(f.name for f in fields(Music))


@dataclass(frozen=True, kw_only=True)
class InventoryRecord(Record):
    """One file that the scan met: inventory.jsonl."""

    path: str
    """Relative to the corpus folder, with forward slashes."""

    status: Literal["used", "rejected", "ignored"]
    """Audio is used or rejected; anything that is not music is ignored."""

    reason: str | None = None
    """A short code: see REASONS."""

    detail: str | None = None
    """The reason in words, with the figures."""

    key: str | None = None
    """Digest of the file's bytes, 32 hex digits."""

    bucket: str | None = None
    split: str | None = None
    duration_sec: float | None = None
    """By the file's header; None where the header does not say."""


@dataclass(frozen=True, kw_only=True)
class TrackRecord(Record):
    """One used track before it is decoded: metadata.jsonl."""

    track: str
    """Digest of the file's bytes, 32 hex digits. `key` is the musical key."""

    path: str
    split: str | None
    """train, valid or evaluate; None when the track's licence keeps it out of all."""

    bucket: str
    caption: str | None
    title: str | None
    artist: str | None
    album: str | None
    key: str | None
    bpm: float | None
    genre: str | None
    moods: list[str] | None
    keywords: list[str] | None
    description: str | None
    name: str | None
    instrument: str | None
    license: str | None
    weight: float | None = None


@dataclass(frozen=True, kw_only=True)
class PreparedRecord(Record):
    """One track after decoding: the .jsonl beside an audio tar."""

    key: str
    """Digest of the source file's bytes, 32 hex digits."""

    path: str
    status: Literal["used", "rejected"]
    reason: str | None = None
    detail: str | None = None

    sample_rate_hz: int | None = None
    """The source's own rate."""

    num_channels: int | None = None
    """The source's own channels."""

    duration_sec: float | None = None
    """Decoded length of the source."""

    num_samples: int | None = None
    """Length of the prepared audio, at the codec's rate."""

    peak: float | None = None
    """Largest absolute sample of the decoded source, 1.0 is full scale."""

    loudness_lufs: float | None = None
    """Integrated loudness of the prepared audio; None when it is too short or too quiet to have one."""

    gain_db: float = 0.0
    """Gain that the loudness target asked for and the true-peak ceiling allowed."""

    num_clipped_samples: int = 0
    """Samples beyond full scale (decoders and resamplers overshoot), cut to it."""


REASONS: dict[str, str] = {
    "bad_name": "the name is not UTF-8",
    "unsupported": "a kind of audio that is not decoded here",
    "empty": "no bytes",
    "unreadable": "cannot be opened as audio",
    "duplicate": "the same bytes as another file",
    "too_short": "shorter than data.min_duration_sec",
    "too_long": "longer than data.max_duration_sec",
    "bad_metadata": "its metadata cannot be read",
    "corrupt": "decoding fails",
    "silent": "never louder than data.silence_dbfs",
    "license": "its licence is not among the corpus's licenses",
    "not_music": "not audio",
}
"""Reason codes of rejected and ignored files."""
