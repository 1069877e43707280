"""Words about a track: AudioCraft sidecars, text files and tags, normalised; and the caption made of them.

The rules per field are those of AudioCraft's MusicInfo (audiocraft/data/music_dataset.py): empty strings and "None" are
nothing; genre, name, instrument, key, moods and keywords are lower-cased; a key with a comma is nothing; a list given
as one string is split on commas and white space. Missing fields are allowed here; album, license and weight are added.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from musicgen_core.data.records import MUSIC_FIELDS, Music

SYNONYMS = {
    "caption": "description",
    "text": "description",
    "prompt": "description",
    "mood": "moods",
    "tags": "keywords",
    "tempo": "bpm",
    "instruments": "instrument",
    "licence": "license",
    "initialkey": "key",
    "initial_key": "key",
}
"""Other names under which people and tag formats write the fields; the field's own name wins."""

CAPTION_FIELDS = ("genre", "moods", "instrument", "keywords", "key", "bpm")
"""Fields a caption is composed from, in this order, when there is no description. A title says nothing of the sound."""


def read_music(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Normalise a mapping with any of the known fields; returns only the fields that say something.

    Names match without regard to case. Raises ValueError that names a field which is neither text, number nor list.
    """
    named = {str(name).strip().lower(): value for name, value in fields.items()}
    for synonym, name in SYNONYMS.items():
        if synonym in named and _is_nothing(named.get(name)):
            named[name] = named[synonym]
    music = {name: _normalise(name, named[name]) for name in MUSIC_FIELDS if name in named}
    return {name: value for name, value in music.items() if value is not None}


def parse_sidecar(text: str) -> dict[str, Any]:
    """Read an AudioCraft .json sidecar. Raises ValueError that says on which line it is broken."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: not JSON ({error.msg})") from None
    if not isinstance(value, dict):
        raise ValueError(f"line 1: expected a JSON object, found {type(value).__name__}")
    return read_music(value)


def parse_text(text: str) -> dict[str, Any]:
    """Read a .txt sidecar: the whole text, on one line, is the description."""
    return read_music({"description": " ".join(text.split())})


def combine(sources: list[Mapping[str, Any]]) -> Music:
    """Merge normalised sources: for each field the first source that has it wins."""
    merged: dict[str, Any] = {}
    for source in sources:
        for name, value in source.items():
            merged.setdefault(name, value)
    return Music(**merged)


def compose_caption(music: Music) -> str | None:
    """The description; without one, `genre: jazz. moods: calm, warm. bpm: 120` as AudioCraft merges text; else None."""
    if music.description:
        return music.description
    pieces = []
    for name in CAPTION_FIELDS:
        value = getattr(music, name)
        if value:
            words = ", ".join(value) if isinstance(value, list) else f"{value:g}" if name == "bpm" else value
            pieces.append(f"{name}: {words}")
    return ". ".join(pieces) or None


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.strip() in ("", "None")) or value == []


def _normalise(name: str, value: Any) -> Any:
    if _is_nothing(value):
        return None
    if name in ("moods", "keywords"):
        words = value if isinstance(value, list) else re.split(r"[,\s]+", _text(name, value))
        return [word for word in (_text(name, w).lower() for w in words) if word] or None
    if name == "bpm":
        try:
            bpm = float(value)
        except (TypeError, ValueError):
            return None
        return bpm if math.isfinite(bpm) else None
    if name == "weight":
        return _weight(value)
    words = [_text(name, word) for word in (value if isinstance(value, list) else [value])]
    text = ", ".join(word for word in words if word)
    if _is_nothing(text):  # a list of nothing
        return None
    if name == "key":
        return None if "," in text else text.lower()
    return text.lower() if name in ("genre", "name", "instrument") else text


def _weight(value: Any) -> float:
    """What draws a track more or less often: a slip here would skew a run in silence, so it is an error."""
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise ValueError(f"weight: expected a number of 0 or more, found {value!r}")
    return weight


def _text(name: str, value: Any) -> str:
    if isinstance(value, (str, int, float)):
        return str(value).strip()
    raise ValueError(f"{name}: expected text or a number, found {type(value).__name__}")
