"""Bring a corpus's plan up to date where few of its files changed, without parsing what is known of the others.

What comes out is what a scan of all files would write, byte for byte (a test compares the two over random histories).
Where only that scan can tell, because a change reaches beyond the files that changed, `amend` says so.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from musicgen_core.config.data import CorpusConfig, DataConfig
from musicgen_core.data.captions import Captions, list_sources, list_tables
from musicgen_core.data.inventory import (
    AUDIO_SUFFIXES,
    COMPANION_SUFFIXES,
    find_lasting,
    gather,
    is_utf8,
    read_audio,
    reject_duplicates,
    screen,
)
from musicgen_core.data.placement import place_track
from musicgen_core.data.plan import CorpusPlan
from musicgen_core.data.plan_files import add_durations, encode_line, remove_bucket, set_aside, write_bucket
from musicgen_core.data.records import InventoryRecord, TrackRecord
from musicgen_core.data.scan import CACHE_VERSION, StatCache
from musicgen_core.data.snapshot import FILES, Snapshot, digest_tables
from musicgen_core.data.sorted_lines import SortedLines
from musicgen_core.data.table_edits import TableEdits, find_edits
from musicgen_core.native import FolderList, FoundFile
from musicgen_core.util.digest import digest_file

SMALL_PART = 10
"""Amended is a plan of which at most one file in so many changed."""

Changes = dict[str, tuple[FoundFile | None, FoundFile | None]]


class NeedsScan(Exception):
    """Only a scan of all files can tell."""


class PatchedCache(StatCache):
    """A cache of which only what is asked for is read, and only what is new is written."""

    def __init__(self, lines: SortedLines, gone: set[str]) -> None:
        if lines.header() != {"version": CACHE_VERSION}:
            raise NeedsScan
        self.entries: dict[str, list[Any]] = {}
        self.lines = lines
        self.gone = gone

    def entry(self, path: str) -> list[Any] | None:
        if path not in self.entries:
            line = self.lines.find(path)
            return None if line is None else line[1:]
        return self.entries[path]

    def save(self, paths: set[str]) -> None:
        edits: dict[str, str | None] = {path: self.line(path) for path in self.entries if path in paths}
        self.lines.splice(edits | dict.fromkeys(self.gone))


@dataclass
class Edits:
    """What becomes of lines and buckets."""

    inventory: dict[str, str | None] = field(default_factory=dict)
    tracks: dict[str, str | None] = field(default_factory=dict)
    left: list[InventoryRecord] = field(default_factory=list)
    came: list[InventoryRecord] = field(default_factory=list)
    tracks_left: list[TrackRecord] = field(default_factory=list)
    tracks_came: list[TrackRecord] = field(default_factory=list)


def amend(
    name: str, corpus: CorpusConfig, data: DataConfig, folder: Path, former: Snapshot, found: FolderList
) -> tuple[CorpusPlan, int, dict[str, list[str]]] | None:
    """Amend the plan in `folder`, which must be as `former` knows it, to the files of now.

    Returns the plan, and the snapshot's `spare` and `aside`. None where a scan of all files is needed, which then
    writes all files of the plan: many changes, rows of a table of captions that came, went, or may fit other files now,
    copies of other files, a split that may run short.
    """
    try:
        if digest_file(folder / FILES) != former.files:
            return None
        listed = found.changes_since(folder / FILES)
        if len(listed) * SMALL_PART > found.num_files:
            return None
        changes = {_either(change).path: change for change in listed}
        return _amend(name, corpus, data, folder, former, found, changes)
    except (NeedsScan, FileNotFoundError, json.JSONDecodeError):
        return None


def _amend(
    name: str,
    corpus: CorpusConfig,
    data: DataConfig,
    folder: Path,
    former: Snapshot,
    found: FolderList,
    changes: Changes,
) -> tuple[CorpusPlan, int, dict[str, list[str]]]:
    lines = SortedLines(folder / "cache.jsonl", lambda line: str(line[0]), header=True)
    cache = PatchedCache(lines, {path for path, (_, now) in changes.items() if now is None})
    affected = _find_affected(corpus, changes, found)
    there = sorted(file for file in affected.values() if file is not None)
    read_audio(Path(corpus.path), there, cache, name)
    if len(find_lasting(there, cache)) < len(there):
        raise NeedsScan
    rows: dict[str, dict[str, Any]] | None = None
    table: TableEdits | None = None
    if list_tables(corpus):
        table = _find_table_edits(corpus, folder, former)
        _insist_on_same_facts(corpus, changes, cache, table)
        rows = table.rows if table else {}
        affected = {path: _find_file(path, found) for path in rows} | dict.fromkeys(table.left if table else ())
        there = sorted(file for file in affected.values() if file is not None)
    inventory = SortedLines(folder / "inventory.jsonl", lambda line: str(line["path"]))
    tracks = SortedLines(folder / "metadata.jsonl", lambda line: str(line["track"]))
    before = {path: InventoryRecord.from_dict(line) for path in affected if (line := inventory.find(path)) is not None}
    screened = [record for file in there if (record := screen(file, cache, data)) is not None]
    _insist_on_own_keys([*before.values(), *screened], affected, former, tracks)
    records, placed = _place(corpus, data, screened, there, found, cache, rows)
    if table is not None and table.came - {record.path for record in records if record.status == "used"}:
        raise NeedsScan  # a row of a file that is not used, as of a copy, is worth a note
    edits = _compare(before, records, placed, tracks)
    spare = former.spare - len(edits.tracks_left)
    if edits.tracks and spare < 1:
        raise NeedsScan
    inventory.splice(edits.inventory)
    tracks.splice(edits.tracks)
    cache.save(set(cache.entries))
    if table is not None:
        table.keep(folder)
    plan = _count(former.plan, edits, _write_buckets(folder, former.plan.buckets, edits))
    if edits.tracks:
        plan = replace(plan, metadata_digest=digest_file(folder / "metadata.jsonl"))
    return plan, spare, set_aside(former.aside, set(affected), records)


def _place(
    corpus: CorpusConfig,
    data: DataConfig,
    screened: list[InventoryRecord],
    there: list[FoundFile],
    found: FolderList,
    cache: PatchedCache,
    rows: dict[str, dict[str, Any]] | None,
) -> tuple[list[InventoryRecord], dict[str, TrackRecord]]:
    """The records of the affected files, and the tracks of those that are used, by path. `rows`: of the table."""
    if not there:
        return [], {}
    near = {file.path: file for one in there for file in found.starting(one.stem + ".")}
    captions = Captions(corpus, near.values(), cache, rows)
    records, music = gather(reject_duplicates(screened, captions, cache), captions, cache)
    placed = {r.path: place_track(corpus, data, r, music[r.path]) for r in records if r.status == "used"}
    return [placed[r.path][0] if r.path in placed else r for r in records], {
        p: track for p, (_, track) in placed.items()
    }


def _find_affected(corpus: CorpusConfig, changes: Changes, found: FolderList) -> dict[str, FoundFile | None]:
    """Files whose own line may change: those that changed, and audio whose sidecar did; None where one is gone."""
    affected: dict[str, FoundFile | None] = {}
    for path, change in changes.items():
        file = _either(change)
        if not is_utf8(path):
            raise NeedsScan  # its line stands under another name
        if file.suffix.removeprefix(".") in list_sources(corpus):
            beside = [f for f in found.starting(file.stem + ".") if f.stem == file.stem]
            affected |= {f.path: f for f in beside if f.suffix in AUDIO_SUFFIXES}
        if file.suffix not in COMPANION_SUFFIXES:
            affected[path] = change[1]
    return affected


def _insist_on_same_facts(
    corpus: CorpusConfig, changes: Changes, cache: PatchedCache, table: TableEdits | None
) -> None:
    """With a table of captions, a row may fit another file as soon as one comes, goes, or changes its status: but for
    files that come or go with a row of their own, where all rows name whole paths."""
    came = {path for path, (before, now) in changes.items() if before is None and now and now.suffix in AUDIO_SUFFIXES}
    left = {path for path, (_, now) in changes.items() if now is None}
    if table is not None and (table.left - left or not came.issuperset(table.came)):
        raise NeedsScan
    own = (table.came & came) | (table.left & left) if table else set()
    for path, (before, now) in changes.items():
        suffix = _either((before, now)).suffix
        if path in own:
            continue
        if suffix in COMPANION_SUFFIXES and suffix.removeprefix(".") not in list_sources(corpus):
            continue
        if before is None or now is None or suffix not in AUDIO_SUFFIXES or (before.size > 0) != (now.size > 0):
            raise NeedsScan
        former = cache.lines.find(path)
        if now.size > 0 and (former is None or former[4] != cache.facts(path)):
            raise NeedsScan


def _find_table_edits(corpus: CorpusConfig, folder: Path, former: Snapshot) -> TableEdits | None:
    """What changed in the table; None where nothing did."""
    if digest_tables(corpus) == former.tables:
        return None
    tables, has_notes = list_tables(corpus), former.plan.num_notes > 0
    edits = None
    if len(tables) == 1:
        edits = find_edits(folder, Path(corpus.path) / tables[0], bool(former.aside), has_notes)
    if edits is None:
        raise NeedsScan
    return edits


def _find_file(path: str, found: FolderList) -> FoundFile:
    for file in found.starting(path):
        if file.path == path:
            return file
    raise NeedsScan


def _insist_on_own_keys(
    records: list[InventoryRecord], affected: dict[str, FoundFile | None], former: Snapshot, tracks: SortedLines
) -> None:
    """No file but the affected ones may have the bytes of one of them: which of two copies is used hangs on both."""
    for key in {record.key for record in records if record.key is not None}:
        track = tracks.find(key)
        owners = {*former.aside.get(key, ()), *([track["path"]] if track else [])}
        if owners - affected.keys():
            raise NeedsScan


def _compare(
    before: dict[str, InventoryRecord],
    records: list[InventoryRecord],
    placed: dict[str, TrackRecord],
    tracks: SortedLines,
) -> Edits:
    edits, now = Edits(), {record.path: record for record in records}
    for path in before.keys() | now.keys():
        old, new = before.get(path), now.get(path)
        if old != new:
            edits.inventory[path] = None if new is None else encode_line(new)
            edits.left += [old] if old else []
            edits.came += [new] if new else []
        old_track, new_track = _find_track(old, tracks), placed.get(path)
        if old_track != new_track:
            edits.tracks_left += [old_track] if old_track else []
            edits.tracks_came += [new_track] if new_track else []
    edits.tracks |= dict.fromkeys(track.track for track in edits.tracks_left)
    edits.tracks |= {track.track: encode_line(track) for track in edits.tracks_came}
    return edits


def _find_track(record: InventoryRecord | None, tracks: SortedLines) -> TrackRecord | None:
    if record is None or record.status != "used":
        return None
    line = tracks.find(str(record.key))
    if line is None:
        raise NeedsScan
    return TrackRecord.from_dict(line)


def _write_buckets(folder: Path, buckets: dict[str, str], edits: Edits) -> dict[str, str]:
    """Rewrite the lists of the buckets that a track left or entered, and return all buckets with their digests."""
    digests = dict(buckets)
    for bucket in {track.bucket for track in (*edits.tracks_left, *edits.tracks_came)}:
        paths: dict[str, str] = {}
        if bucket in buckets:
            paths = json.loads((folder / "locations" / f"{bucket}.json").read_text(encoding="utf-8"))
        for track in edits.tracks_left:
            if track.bucket == bucket and paths.pop(track.track, None) is None:
                raise NeedsScan  # altered by hand
        paths |= {track.track: track.path for track in edits.tracks_came if track.bucket == bucket}
        digests.pop(bucket, None)
        if paths:
            digests[bucket] = write_bucket(folder, bucket, paths)
        else:
            remove_bucket(folder, bucket)
    return {bucket: digests[bucket] for bucket in sorted(digests)}


def _count(former: CorpusPlan, edits: Edits, buckets: dict[str, str]) -> CorpusPlan:
    rejected = Counter(former.num_rejected)
    rejected.subtract(record.reason or "" for record in edits.left if record.status == "rejected")
    rejected.update(record.reason or "" for record in edits.came if record.status == "rejected")
    ignored = [sum(record.status == "ignored" for record in records) for records in (edits.came, edits.left)]
    captioned = [sum(t.caption is not None for t in tracks) for tracks in (edits.tracks_came, edits.tracks_left)]
    return replace(
        former,
        buckets=buckets,
        num_used=former.num_used + len(edits.tracks_came) - len(edits.tracks_left),
        num_rejected={reason: count for reason, count in rejected.items() if count},
        num_ignored=former.num_ignored + ignored[0] - ignored[1],
        num_captioned=former.num_captioned + captioned[0] - captioned[1],
        duration_sec=add_durations(edits.came, former.duration_sec, less=edits.left),
    )


def _either(change: tuple[FoundFile | None, FoundFile | None]) -> FoundFile:
    file = change[1] or change[0]
    assert file is not None
    return file
