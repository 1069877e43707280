"""Whether a corpus is as it was when its plan was written: then the plan is taken as it lies, or amended."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from musicgen_core.config.data import CorpusConfig, DataConfig
from musicgen_core.config.plain import to_plain
from musicgen_core.data.captions import list_tables
from musicgen_core.data.plan import CorpusPlan
from musicgen_core.util.atomic import write_text_if_changed
from musicgen_core.util.digest import digest_json, digest_lines

NAME = "snapshot.json"
FILES = "files.list"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """snapshot.json."""

    settings: str
    """Digest of the config and of the scan's version."""

    tables: str
    """Digest of the sizes and times of the tables of captions, which may lie outside the corpus."""

    files: str
    """Digest of every file's path, size, mtime and ctime: of files.list."""

    written: str
    """Digest of the names, sizes and times of the files that the plan consists of."""

    plan: CorpusPlan
    lines: list[str]
    """What the scan said."""

    spare: int
    """Of `placement.place_tracks`, less one for each track that went or changed since."""

    aside: dict[str, list[str]]
    """Key -> paths of files that were set aside though they can be heard: duplicates, and those of broken metadata."""


def digest_settings(corpus: CorpusConfig, data: DataConfig, version: int) -> str:
    """Digest of all that a corpus's plan depends on, but for its files and its tables."""
    return digest_json({**to_plain(corpus), **to_plain(data), "version": version})


def digest_tables(corpus: CorpusConfig) -> str:
    return digest_lines([_stat(Path(corpus.path) / source) for source in list_tables(corpus)])


def digest_written(folder: Path, names: Iterable[str]) -> str:
    """Digest of names, sizes and times of files of a plan, and of its lists per bucket."""
    lines = [f"{name} {_stat(folder / name)}" for name in names]
    for part in ("buckets", "locations"):
        if (folder / part).is_dir():
            with os.scandir(folder / part) as entries:
                lines += sorted(f"{part}/{e.name} {e.stat().st_size} {e.stat().st_mtime_ns}" for e in entries)
    return digest_lines(lines)


def read_snapshot(folder: Path) -> Snapshot | None:
    """The snapshot beside a plan; None without one, or when it is damaged."""
    try:
        value = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return Snapshot(**{**value, "plan": CorpusPlan(**value["plan"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_snapshot(folder: Path, snapshot: Snapshot) -> None:
    write_text_if_changed(folder / NAME, json.dumps(asdict(snapshot), indent=1, sort_keys=True) + "\n")


def _stat(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "absent"
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
