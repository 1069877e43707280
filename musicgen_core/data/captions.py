"""Gather the words about each track of a corpus, from the declared sources in their order."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from musicgen_core.config.data import CorpusConfig
from musicgen_core.data.metadata import combine, parse_sidecar, parse_text, read_music
from musicgen_core.data.records import Music
from musicgen_core.data.scan import StatCache
from musicgen_core.data.table import read_table
from musicgen_core.native import FoundFile

PER_TRACK_SOURCES = ("json", "txt", "tags")
"""Sources that lie beside or in each file; any other source is the path of a table."""


@dataclass(frozen=True)
class Note:
    """Something a person may want to mend, although it rejects nothing: notes.jsonl."""

    path: str
    line: int | None
    text: str


def list_sources(corpus: CorpusConfig) -> tuple[str, ...]:
    return (corpus.captions,) if isinstance(corpus.captions, str) else corpus.captions


def list_tables(corpus: CorpusConfig) -> tuple[str, ...]:
    return tuple(source for source in list_sources(corpus) if source not in PER_TRACK_SOURCES)


class Captions:
    """All sources of one corpus. Sidecars are parsed once and remembered in the cache."""

    def __init__(
        self,
        corpus: CorpusConfig,
        found: Iterable[FoundFile],
        cache: StatCache,
        rows: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        """Read the tables. Raises ValueError that names a table which is missing or unreadable.

        With `rows`, audio path -> normalised fields of the only table, as `match` would find them, it is not read.
        """
        self.folder = Path(corpus.path)
        self.license = corpus.license
        self.sources = list_sources(corpus)
        self.cache = cache
        self.sidecars = {f.path: f for f in found if f.suffix in (".json", ".txt")}
        self.tables = {s: read_table(self.folder / s) for s in list_tables(corpus)} if rows is None else {}
        self.rows = dict.fromkeys(list_tables(corpus), rows or {})

    def match(self, paths: Iterable[str]) -> list[Note]:
        """Match the tables' rows with the audio files; returns the rows that do not fit. A later match starts anew."""
        paths = list(paths)
        notes = []
        for source, table in self.tables.items():
            unread = list(table.problems)
            self.rows[source] = table.match(paths)
            notes += [Note(source, line, text) for line, text in sorted(table.problems)]
            table.problems = unread
        return notes

    def note_missing(self, path: str, music: Music) -> Note | None:
        """A note about a track that no source has words for although there are tables; a licence is no word."""
        known = any(value is not None for name, value in vars(music).items() if name != "license")
        if known or not self.rows or any(path in rows for rows in self.rows.values()):
            return None
        return Note(path, None, f"has no row in {', '.join(self.rows)}, and no words elsewhere")

    def gather(self, path: str, tags: dict[str, str]) -> Music:
        """Merge what the sources say of one audio file; for each field the first source that has it wins.

        Raises ValueError that names a broken sidecar and its line.
        """
        music = combine([self._read(source, path, tags) for source in self.sources])
        return music if music.license else replace(music, license=self.license)

    def _read(self, source: str, path: str, tags: dict[str, str]) -> dict[str, Any]:
        if source not in PER_TRACK_SOURCES:
            return self.rows[source].get(path, {})
        if source == "tags":
            return read_music(tags)
        found = self.sidecars.get(f"{os.path.splitext(path)[0]}.{source}")
        return self._read_sidecar(found) if found is not None else {}

    def _read_sidecar(self, found: FoundFile) -> dict[str, Any]:
        if found.size < 0:
            raise ValueError(f"{found.path}: a link that leads nowhere")
        facts = self.cache.get(found)
        if facts is None:
            facts = _parse_sidecar(self.folder / found.path, found.suffix)
            self.cache.put(found, facts)
        if "error" in facts:
            raise ValueError(f"{found.path}: {facts['error']}")
        fields: dict[str, Any] = facts["fields"]
        return fields


def _parse_sidecar(path: Path, suffix: str) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        return {"fields": parse_sidecar(text) if suffix == ".json" else parse_text(text)}
    except UnicodeDecodeError as error:
        return {"error": f"not UTF-8 (byte {error.start})"}
    except ValueError as error:
        return {"error": str(error)}
