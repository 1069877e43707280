"""The files of a corpus's plan, results/plan/CORPUS: lines about files and tracks, and lists per bucket."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from musicgen_core.data.captions import Note
from musicgen_core.data.records import InventoryRecord, Record
from musicgen_core.data.sorted_lines import SortedLines
from musicgen_core.util.atomic import write_text_if_changed
from musicgen_core.util.digest import digest_lines

_encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make an encoder for every record


def encode_line(record: Record) -> str:
    return _encode(record.to_dict())


def write_lines(path: Path, records: Sequence[Record]) -> str:
    """Write one line per record, if that changes the file; returns the text."""
    text = "".join(encode_line(record) + "\n" for record in records)
    write_text_if_changed(path, text)
    return text


def write_bucket(folder: Path, bucket: str, paths: dict[str, str]) -> str:
    """Write the keys of a bucket's tracks, and where their files lie (key -> path); returns the digest of the keys."""
    keys = sorted(paths)
    write_text_if_changed(folder / "buckets" / f"{bucket}.txt", "".join(f"{key}\n" for key in keys))
    locations = json.dumps(paths, indent=0, sort_keys=True, ensure_ascii=False)
    write_text_if_changed(folder / "locations" / f"{bucket}.json", locations + "\n")
    return digest_lines(keys)


def remove_bucket(folder: Path, bucket: str) -> None:
    (folder / "buckets" / f"{bucket}.txt").unlink(missing_ok=True)
    (folder / "locations" / f"{bucket}.json").unlink(missing_ok=True)


def show_rejected(folder: Path, count: int) -> list[tuple[str, str, str]]:
    """The first rejected files: path, reason, detail."""
    lines = SortedLines(folder / "inventory.jsonl", lambda line: str(line["path"]))
    return [(one["path"], one["reason"], one["detail"]) for one in lines.first_with('"status": "rejected"', count)]


def write_rejected(folder: Path) -> None:
    """Write the rejected files' lines once more by themselves: they alone of the inventory are what a report shows."""
    lines = SortedLines(folder / "inventory.jsonl", lambda line: str(line["path"]))
    found = [one for one in lines.first_with('"status": "rejected"', sys.maxsize) if one["status"] == "rejected"]
    write_text_if_changed(folder / "rejected.jsonl", "".join(_encode(one) + "\n" for one in found))


def show_notes(folder: Path, count: int) -> list[dict[str, Any]]:
    return SortedLines(folder / "notes.jsonl", lambda line: str(line["path"])).first(count)


def write_notes(folder: Path, notes: Iterable[Note]) -> None:
    write_text_if_changed(folder / "notes.jsonl", "".join(_encode(asdict(note)) + "\n" for note in notes))


def read_notes(folder: Path) -> list[Note]:
    text = (folder / "notes.jsonl").read_text(encoding="utf-8")
    return [Note(**json.loads(line)) for line in text.split("\n") if line]


def add_durations(files: Iterable[InventoryRecord], to_sec: float = 0.0, less: Iterable[InventoryRecord] = ()) -> float:
    """Seconds of the used files. Summed in whole microseconds, so that the order of additions does not matter."""
    came, left = (
        sum(round(1e6 * (r.duration_sec or 0.0)) for r in some if r.status == "used") for some in (files, less)
    )
    return (round(1e6 * to_sec) + came - left) / 1e6


def set_aside(
    former: dict[str, list[str]], apart_from: set[str], files: Iterable[InventoryRecord]
) -> dict[str, list[str]]:
    """Key -> paths of files that could be used if their words were mended or their copies went: the former ones but for
    some paths, and those among `files`."""
    aside = {key: [path for path in paths if path not in apart_from] for key, paths in former.items()}
    for record in files:
        if record.status == "rejected" and record.reason in ("duplicate", "bad_metadata") and record.key is not None:
            aside.setdefault(record.key, []).append(record.path)
    return {key: sorted(paths) for key, paths in sorted(aside.items()) if paths}
