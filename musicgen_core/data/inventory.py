"""Take the inventory of one corpus: every audio file is used, or rejected with its reason."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from musicgen_core import native
from musicgen_core.config.data import CorpusConfig, DataConfig
from musicgen_core.data.away import REMEDY, check_reading
from musicgen_core.data.captions import Captions, Note
from musicgen_core.data.placement import place_tracks
from musicgen_core.data.records import InventoryRecord, Music, TrackRecord
from musicgen_core.data.scan import StatCache
from musicgen_core.data.table import Table
from musicgen_core.native import FolderList, FoundFile
from musicgen_core.util.log import progress

# fmt: off
AUDIO_SUFFIXES = frozenset((
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aiff", ".aif", ".aifc", ".m4a", ".mp4", ".aac",
    ".mka", ".mkv", ".webm",
))
"""Endings of files that are opened as audio. What they really hold is found out by opening them."""

OTHER_AUDIO_SUFFIXES = frozenset((
    ".wma", ".ape", ".wv", ".mpc", ".ac3", ".dts", ".amr", ".ra", ".caf", ".dsf", ".dff", ".tta", ".mid", ".midi",
))
"""Audio that is not decoded here; rejected by name, so that nobody wonders where it went."""

COMPANION_SUFFIXES = frozenset((
    ".json", ".jsonl", ".txt", ".csv", ".tsv", ".md", ".html", ".xml", ".yaml", ".yml", ".pdf", ".rtf", ".nfo", ".cue",
    ".log", ".m3u", ".m3u8", ".pls", ".lrc", ".sfv", ".md5", ".ini", ".db", ".jpg", ".jpeg", ".png", ".gif", ".webp",
    ".bmp", ".tif", ".tiff", ".svg",
))
"""Text and pictures, which lie beside music everywhere and are not even listed."""
# fmt: on

CHUNK_FILES = 64
SAVE_EVERY_SEC = 120.0


@dataclass(frozen=True)
class Inventory:
    """All files of one corpus by path, its used tracks by key, and what a person may want to mend."""

    files: list[InventoryRecord]
    tracks: list[TrackRecord]
    notes: list[Note]
    complete: bool
    """Every file could be read; False: the next scan tries again."""

    spare: int
    """Of `placement.place_tracks`."""

    tables: list[Table]
    """The tables of captions, matched."""


def find_files(name: str, corpus: CorpusConfig, skip: Path | None = None) -> FolderList:
    """All files of a corpus; `skip` is a folder left out: results inside it. ValueError when its folder is absent, or
    when it, a folder or a file in it cannot be looked at."""
    try:
        if not Path(corpus.path).is_dir():
            raise ValueError(f"corpora.{name}.path: {corpus.path!r} is not a folder; correct the path")
        return FolderList(corpus.path, skip)
    except OSError as error:
        raise ValueError(f"corpora.{name}: {error.filename}: {error.strerror}; {REMEDY}") from None


def take_inventory(
    name: str, corpus: CorpusConfig, data: DataConfig, cache_path: Path, found: list[FoundFile]
) -> Inventory:
    """Scan the files of one corpus. Only those whose size, mtime or ctime changed since the last scan are opened.

    Raises ValueError, which names the corpus and the remedy, when its table of captions is missing, no audio is usable,
    a track of the last plan cannot be read, nothing has a caption (unless allowed), no licence fits, or there are too
    few groups to split.
    """
    folder = Path(corpus.path)
    try:
        cache = StatCache(cache_path)
        captions = Captions(corpus, found, cache)
        read_audio(folder, found, cache, name)
        check_reading(list_unread(found, cache), cache_path.with_name("inventory.jsonl"))
        screened = [r for f in found if (r := screen(f, cache, data)) is not None]
        captions.match(r.path for r in screened if r.status == "used")  # copies are judged by their words
        files = reject_duplicates(screened, captions, cache)
        notes = captions.match(r.path for r in files if r.status == "used")
        files, music = gather(files, captions, cache)
        notes += [note for path, words in music.items() if (note := captions.note_missing(path, words))]
        lasting = find_lasting(found, cache)
        cache.save(lasting)
        used = [r for r in files if r.status == "used"]
        if not used:
            raise ValueError(f"no usable audio: {_count_reasons(files) or 'the folder holds no audio file'}")
        placed, tracks, spare = place_tracks(corpus, data, used, music)
    except ValueError as error:
        raise ValueError(f"corpora.{name} ({corpus.path}): {error}") from None
    by_path = {record.path: record for record in placed}
    return Inventory(
        files=sorted((by_path.get(r.path, r) for r in files), key=lambda record: record.path),
        tracks=sorted(tracks, key=lambda track: track.track),
        notes=notes,
        complete=len(lasting) == len(found),
        spare=spare,
        tables=list(captions.tables.values()),
    )


def read_audio(folder: Path, found: list[FoundFile], cache: StatCache, name: str) -> None:
    """Hash and probe the audio files that the cache does not know, in parallel.

    What was read is remembered every two minutes and when this is broken off, for the first plan may take hours.
    """
    new = [f for f in found if f.suffix in AUDIO_SUFFIXES and f.size > 0 and is_utf8(f.path) and cache.get(f) is None]
    if not new:
        return
    saved_sec = time.monotonic()
    try:
        for f, facts in progress(_examine(folder, new), f"plan: reading new files of {name}", total=len(new)):
            cache.put(f, facts)
            if time.monotonic() - saved_sec > SAVE_EVERY_SEC:
                cache.save(find_lasting(found, cache))
                saved_sec = time.monotonic()
    except BaseException:
        cache.save(find_lasting(found, cache))
        raise


def find_lasting(found: list[FoundFile], cache: StatCache) -> set[str]:
    """Paths of the files that need not be tried again while they stay the same."""
    return {f.path for f in found if not (cache.get(f) or {}).get("transient")}


def list_unread(found: list[FoundFile], cache: StatCache) -> list[tuple[str, str]]:
    """Files that the system would not let read, and what it said."""
    facts = ((f.path, cache.get(f) or {}) for f in found)
    return [(path, known["error"]) for path, known in facts if known.get("transient")]


def _examine(folder: Path, files: list[FoundFile]) -> Iterator[tuple[FoundFile, dict[str, Any]]]:
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for i in range(0, len(files), CHUNK_FILES):
            chunk = files[i : i + CHUNK_FILES]
            paths = [folder / f.path for f in chunk]
            probed = list(pool.map(_probe, paths))
            for f, (key, error), facts in zip(chunk, native.hash_files(paths), probed, strict=True):
                yield f, {"error": error, "transient": True} if key is None else {"key": key, **facts}


def _probe(path: Path) -> dict[str, Any]:
    try:
        info = native.probe(path)
    except native.AudioError as error:
        return {"error": str(error).removeprefix(f"{path}: ")}
    except OSError as error:
        return {"error": str(error), "transient": True}
    duration_sec = None if info.num_samples is None else info.num_samples / info.sample_rate_hz
    return {"duration_sec": duration_sec, "tags": info.tags}


def is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def screen(found: FoundFile, cache: StatCache, data: DataConfig) -> InventoryRecord | None:
    """Judge a file by itself. None: a companion of music, not worth a line."""
    path = found.path.encode("utf-8", "backslashreplace").decode()

    def reject(reason: str, detail: str, **facts: Any) -> InventoryRecord:
        return InventoryRecord(path=path, status="rejected", reason=reason, detail=detail, **facts)

    if found.size < 0:
        return reject("unreadable", "a link that leads nowhere")
    if found.suffix in COMPANION_SUFFIXES:
        return None
    if found.suffix in OTHER_AUDIO_SUFFIXES:
        return reject("unsupported", f"{found.suffix} is not decoded here; convert it to flac or wav")
    if found.suffix not in AUDIO_SUFFIXES:
        return InventoryRecord(path=path, status="ignored", reason="not_music")
    if path != found.path:
        return reject("bad_name", "the name is not UTF-8; rename the file")
    if found.size == 0:
        return reject("empty", "the file has no bytes")
    facts = cache.get(found)
    assert facts is not None
    if "error" in facts:
        return reject("unreadable", facts["error"], key=facts.get("key"))
    length = facts["duration_sec"]
    known = {"key": facts["key"], "duration_sec": length}
    if length is not None and length < data.min_duration_sec:
        detail = f"{length:.3f} s, less than data.min_duration_sec {data.min_duration_sec:g}"
        return reject("too_short", detail, **known)
    if length is not None and data.max_duration_sec is not None and length > data.max_duration_sec:
        detail = f"{length:.3f} s, more than data.max_duration_sec {data.max_duration_sec:g}"
        return reject("too_long", detail, **known)
    return InventoryRecord(path=path, status="used", **known)


def reject_duplicates(files: list[InventoryRecord], captions: Captions, cache: StatCache) -> list[InventoryRecord]:
    """Of several files with the same bytes the one with most words stays; of equals, the first by path."""
    copies: dict[str, list[str]] = {}
    for record in files:
        if record.status == "used" and record.key is not None:
            copies.setdefault(record.key, []).append(record.path)
    chosen = {
        key: min(paths, key=lambda path: (-_count_words(path, captions, cache), path)) if len(paths) > 1 else paths[0]
        for key, paths in copies.items()
    }
    kept = []
    for record in files:
        if record.status == "used" and record.key is not None and chosen[record.key] != record.path:
            detail = f"the same bytes as {chosen[record.key]}"
            record = replace(record, status="rejected", reason="duplicate", detail=detail)
        kept.append(record)
    return kept


def _count_words(path: str, captions: Captions, cache: StatCache) -> int:
    """Fields of metadata that are known of a file; a broken sidecar knows none."""
    try:
        music = captions.gather(path, cache.facts(path)["tags"])
    except ValueError:
        return -1
    return sum(value is not None for value in asdict(music).values())


def gather(
    files: list[InventoryRecord], captions: Captions, cache: StatCache
) -> tuple[list[InventoryRecord], dict[str, Music]]:
    """Add the words; a track whose sidecar is broken is rejected, since its licence may stand in there."""
    music: dict[str, Music] = {}
    kept = []
    for record in files:
        if record.status == "used":
            try:
                music[record.path] = captions.gather(record.path, cache.facts(record.path)["tags"])
            except ValueError as error:
                record = replace(record, status="rejected", reason="bad_metadata", detail=str(error))
        kept.append(record)
    return kept, music


def _count_reasons(files: list[InventoryRecord]) -> str:
    counts = Counter(record.reason or "" for record in files if record.status == "rejected")
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
