"""`musicgen demo-corpus`: a folder of short synthesised pieces with captions that are true of them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from musicgen_core.tools.captions import ALBUM, ARTISTS, LICENSE, music_info, write_caption, write_title
from musicgen_core.tools.composer import Piece, compose
from musicgen_core.tools.dice import Dice
from musicgen_core.tools.mixdown import render
from musicgen_core.tools.ogg import set_serial
from musicgen_core.tools.styles import STYLES
from musicgen_core.util.atomic import atomic_open, write_json, write_text
from musicgen_core.util.log import progress, say
from musicgen_core.util.memory_file import memory_file

TABLE_NAME = "metadata.csv"
_COLUMNS = ("file", "title", "artist", "album", "genre", "description", "license")


class _Encoding(NamedTuple):
    extension: str
    format: str
    subtype: str
    rate_hz: int
    num_channels: int


_ENCODINGS = (
    _Encoding("wav", "WAV", "PCM_16", 44_100, 2),
    _Encoding("flac", "FLAC", "PCM_16", 48_000, 1),
    _Encoding("ogg", "OGG", "VORBIS", 44_100, 2),
    _Encoding("flac", "FLAC", "PCM_24", 44_100, 2),
    _Encoding("wav", "WAV", "PCM_24", 32_000, 1),
    _Encoding("ogg", "OGG", "VORBIS", 48_000, 1),
    _Encoding("flac", "FLAC", "PCM_16", 32_000, 2),
)


def run(*, out: Path, num_tracks: int = 120, seed: int = 0) -> None:
    """Synthesise `num_tracks` pieces of 8 to 16 s into the folder `out`.

    Two tracks in three have an AudioCraft sidecar (.json), one in six a .txt; the rest take their caption from
    metadata.csv, which also holds artist and licence of all that have no .json. The same seed gives the same bytes
    (with the same libsndfile). ValueError when `out` holds something else already, or the count is not positive.
    """
    if num_tracks < 1:
        raise ValueError(f"num_tracks is {num_tracks}; ask for at least 1")
    out = Path(out)
    if out.exists() and any(out.iterdir()) and not (out / TABLE_NAME).is_file():
        raise ValueError(f"{out}: holds other files; name an empty or new folder")
    rows = []
    total_sec = 0.0
    for number in progress(range(num_tracks), "demo corpus", num_tracks):
        piece, row = _write_track(out, number, seed)
        total_sec += piece.duration_sec
        if row is not None:
            rows.append(row)
    with atomic_open(out / TABLE_NAME) as handle:
        table = csv.DictWriter(handle, _COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    say(f"{out}: {num_tracks} tracks, {total_sec / 60:.1f} min, {LICENSE}")


def compose_track(number: int, seed: int) -> tuple[Piece, Dice]:
    """The piece of a track number, and the dice that go on to choose its words. Each artist meets several genres."""
    dice = Dice(seed, number)
    style = STYLES[(number + 3 * (number // len(ARTISTS))) % len(STYLES)]
    return compose(style, dice), dice


def _write_track(out: Path, number: int, seed: int) -> tuple[Piece, dict[str, str] | None]:
    piece, dice = compose_track(number, seed)
    encoding = _ENCODINGS[number % len(_ENCODINGS)]
    artist, title = ARTISTS[number % len(ARTISTS)], write_title(piece, number)
    caption = write_caption(piece, dice)
    stem = f"{number:03d}_{piece.style.genre.replace(' ', '_')}_{artist.lower().replace(' ', '_')}"
    name = f"{stem}.{encoding.extension}"
    wav_CN = render(piece, encoding.rate_hz, encoding.num_channels)
    with atomic_open(out / name, "wb") as handle:
        handle.write(_encode(wav_CN, encoding, {"title": title, "artist": artist, "album": ALBUM}, number))
    kind = ("json", "txt", "json", "json", "table", "json")[number % 6]
    if kind == "json":
        info = music_info(piece, caption, title, artist, encoding.rate_hz, encoding.extension)
        write_json(out / f"{stem}.json", info)
        return piece, None
    if kind == "txt":
        write_text(out / f"{stem}.txt", caption + "\n")
    row = {
        "file": name,
        "title": title,
        "artist": artist,
        "album": ALBUM,
        "genre": piece.style.genre,
        "description": caption if kind == "table" else "",
        "license": LICENSE,
    }
    return piece, row


def _encode(wav_CN: np.ndarray, encoding: _Encoding, tags: dict[str, str], number: int) -> bytes:
    """The bytes of an audio file; tags only where they do not carry the time of writing."""
    import soundfile

    layout = encoding.rate_hz, encoding.num_channels, encoding.subtype
    with memory_file() as file:
        with soundfile.SoundFile(file.fileno(), "w", *layout, format=encoding.format, closefd=False) as handle:
            if encoding.format != "WAV":
                for key, value in tags.items():
                    setattr(handle, key, value)
            handle.write(wav_CN.T)
        file.seek(0)
        data = file.read()
    return set_serial(data, number + 1) if encoding.format == "OGG" else data
