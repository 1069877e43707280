"""Bring a corpus's plan up to date where few of its files changed, without parsing what is known of the others.

What comes out is what a scan of all files would write, byte for byte (a test compares the two over random histories).
Where only that scan can tell, because a change reaches beyond the files that changed, `amend` says so.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from musicgen_core.config.data import CorpusConfig, DataConfig
from musicgen_core.data.captions import Captions, Note, list_sources, list_tables
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
from musicgen_core.data.plan_files import (
    add_durations,
    encode_line,
    read_notes,
    remove_bucket,
    set_aside,
    write_bucket,
    write_notes,
)
from musicgen_core.data.records import InventoryRecord, TrackRecord
from musicgen_core.data.scan import CACHE_VERSION, StatCache
from musicgen_core.data.snapshot import FILES, Snapshot, digest_tables
from musicgen_core.data.sorted_lines import SortedLines
from musicgen_core.data.table import is_whole
from musicgen_core.data.table_edits import TableEdits, find_edits, read_table_as_kept
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
    table = _find_table_edits(corpus, folder, former) if list_tables(corpus) else None
    if table is not None and table.whole:
        affected |= {path: _find_file(path, found) for path in (table.rows.keys() | table.left) - affected.keys()}
        if not table.add_rows(affected):
            raise NeedsScan
    there = sorted(file for file in affected.values() if file is not None)
    read_audio(Path(corpus.path), there, cache, name)
    if len(find_lasting(there, cache)) < len(there):
        raise NeedsScan
    if table is not None and not table.whole:
        _insist_on_same_facts(corpus, changes, cache)
        affected = {path: _find_file(path, found) for path in table.rows}
        there = sorted(file for file in affected.values() if file is not None)
    inventory = SortedLines(folder / "inventory.jsonl", lambda line: str(line["path"]))
    tracks = SortedLines(folder / "metadata.jsonl", lambda line: str(line["track"]))
    before = {path: InventoryRecord.from_dict(line) for path in affected if (line := inventory.find(path)) is not None}
    screened = [record for file in there if (record := screen(file, cache, data)) is not None]
    _insist_on_own_keys([*before.values(), *screened], affected, former, tracks)
    records, placed, notes = _place(corpus, data, screened, there, found, cache, table.rows if table else None)
    if table is not None and table.whole:
        _insist_on_whole_table(table, affected, records)
    edits = _compare(before, records, placed, tracks)
    spare = former.spare - len(edits.tracks_left)
    if edits.tracks and spare < 1:
        raise NeedsScan
    inventory.splice(edits.inventory)
    tracks.splice(edits.tracks)
    cache.save(set(cache.entries))
    if table is not None and digest_tables(corpus) != former.tables:
        table.keep(folder)
    plan = _count(former.plan, edits, _write_buckets(folder, former.plan.buckets, edits))
    if table is not None:
        plan = replace(plan, num_notes=_amend_notes(folder, affected, notes))
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
) -> tuple[list[InventoryRecord], dict[str, TrackRecord], list[Note]]:
    """The records of the affected files, the tracks of those used by path, and notes. `rows`: of the table."""
    if not there:
        return [], {}, []
    near = {file.path: file for one in there for file in found.starting(one.stem + ".")}
    captions = Captions(corpus, near.values(), cache, rows)
    records, music = gather(reject_duplicates(screened, captions, cache), captions, cache)
    placed = {r.path: place_track(corpus, data, r, music[r.path]) for r in records if r.status == "used"}
    notes = [note for path, words in music.items() if (note := captions.note_missing(path, words))]
    return (
        [placed[r.path][0] if r.path in placed else r for r in records],
        {p: track for p, (_, track) in placed.items()},
        notes,
    )


def _find_affected(corpus: CorpusConfig, changes: Changes, found: FolderList) -> dict[str, FoundFile | None]:
    """Files whose own line may change: those that changed, and audio whose sidecar did; None where one is gone."""
    affected: dict[str, FoundFile | None] = {}
    for path, change in changes.items():
        file = _either(change)
        if not is_utf8(path):
            raise NeedsScan  # its line stands under another name
        if file.suffix in COMPANION_SUFFIXES and any(one is not None and one.size < 0 for one in change):
            raise NeedsScan  # a companion has a line only while it is a link that leads nowhere
        if file.suffix.removeprefix(".") in list_sources(corpus):
            beside = [f for f in found.starting(file.stem + ".") if f.stem == file.stem]
            affected |= {f.path: f for f in beside if f.suffix in AUDIO_SUFFIXES}
        if file.suffix not in COMPANION_SUFFIXES:
            affected[path] = change[1]
    return affected


def _insist_on_same_facts(corpus: CorpusConfig, changes: Changes, cache: PatchedCache) -> None:
    """Of a table whose rows do not all name whole paths, one may fit another file as soon as a file comes, goes, or
    changes its status."""
    for path, (before, now) in changes.items():
        suffix = _either((before, now)).suffix
        if suffix in COMPANION_SUFFIXES and suffix.removeprefix(".") not in list_sources(corpus):
            continue
        if before is None or now is None or suffix not in AUDIO_SUFFIXES or (before.size > 0) != (now.size > 0):
            raise NeedsScan
        former = cache.lines.find(path)
        if now.size > 0 and (former is None or former[4] != cache.facts(path)):
            raise NeedsScan


def _insist_on_whole_table(
    table: TableEdits, affected: dict[str, FoundFile | None], records: list[InventoryRecord]
) -> None:
    """Each row still belongs to the file that it names, which is heard, and no path is another in a second form."""
    heard = {record.path for record in records if record.status == "used" or record.reason == "bad_metadata"}
    owners = {path for path in table.paths if path is not None}
    if not all(map(is_whole, heard)) or not owners.isdisjoint(affected.keys() - heard):
        raise NeedsScan


def _find_table_edits(corpus: CorpusConfig, folder: Path, former: Snapshot) -> TableEdits:
    """The table of a corpus, and what changed in it."""
    tables = list_tables(corpus)
    if len(tables) > 1:
        raise NeedsScan
    path = Path(corpus.path) / tables[0]
    if digest_tables(corpus) == former.tables:
        table = read_table_as_kept(folder, path)
    else:
        has_numbers = former.plan.num_notes > 0 and any(note.line is not None for note in read_notes(folder))
        table = find_edits(folder, path, bool(former.aside), has_numbers)
    if table is None:
        raise NeedsScan
    return table


def _find_file(path: str, found: FolderList) -> FoundFile | None:
    return next((file for file in found.starting(path) if file.path == path), None)


def _amend_notes(folder: Path, affected: Container[str], new: list[Note]) -> int:
    """Replace the notes about tracks without words; returns how many notes there are. Notes about lines stand first."""
    notes = read_notes(folder)
    about_lines = [note for note in notes if note.line is not None]
    missing = [note for note in notes if note.line is None and note.path not in affected] + new
    write_notes(folder, [*about_lines, *sorted(missing, key=lambda note: note.path)])
    return len(about_lines) + len(missing)


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
