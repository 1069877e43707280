"""Words that are true of a synthesised piece."""

from __future__ import annotations

from typing import Any

from musicgen_core.tools.composer import Piece
from musicgen_core.tools.dice import Dice

LICENSE = "CC0-1.0"
ALBUM = "Synthesised demo corpus"
ARTISTS = (
    "Velvet Circuit",
    "Paper Lanterns",
    "North Quay",
    "Amber Static",
    "The Slow Tide",
    "Copper Fields",
    "Night Ferry",
    "Glass Orchard",
    "Harbour Lights",
    "Blue Meridian",
    "Quiet Engines",
    "Salt and Cedar",
    "Distant Relays",
    "Marble Sky",
    "Loose Threads",
    "Winter Arcade",
)
_NOUNS = ("Signal", "Garden", "Window", "River", "Machine", "Letter", "Summit", "Lantern")


def write_caption(piece: Piece, dice: Dice) -> str:
    """One sentence with genre, mood, tempo, key and every instrument."""
    style = piece.style
    mood, instruments = dice.pick(style.moods), _join(piece.instruments)
    article = "an" if mood[0] in "aeiou" else "a"
    return dice.pick(
        (
            f"{article} {mood} {style.genre} track at {style.bpm} bpm in {piece.key} with {instruments}",
            f"{mood} {style.genre} with {instruments}, {style.bpm} bpm, {piece.key}",
            f"{style.genre} in {piece.key}, {style.bpm} bpm, {mood}, {instruments}",
        )
    )


def write_title(piece: Piece, number: int) -> str:
    return f"{piece.style.moods[number % 2].title()} {_NOUNS[number // 2 % len(_NOUNS)]} {number + 1}"


def music_info(piece: Piece, caption: str, title: str, artist: str, rate_hz: int, extension: str) -> dict[str, Any]:
    """AudioCraft's sidecar fields (MusicInfo), and album and licence."""
    style = piece.style
    return {
        "title": title,
        "artist": artist,
        "album": ALBUM,
        "key": piece.key,
        "bpm": style.bpm,
        "genre": style.genre,
        "moods": list(style.moods),
        "keywords": [style.genre, *piece.instruments],
        "description": caption,
        "name": title,
        "instrument": "Mix",
        "duration": round(piece.duration_sec, 6),
        "sample_rate": rate_hz,
        "file_extension": extension,
        "license": LICENSE,
    }


def _join(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
