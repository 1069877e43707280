"""What music a run was made of: used, rejected and why, under which licences, by whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from musicgen_core.data.manifest import ManifestRecord, read_manifest, read_records
from musicgen_core.data.records import InventoryRecord
from musicgen_core.util.atomic import read_jsonl

SPLITS = ("train", "valid", "evaluate")
NO_LICENSE = "not stated"


@dataclass(frozen=True, kw_only=True)
class Rejected:
    corpus: str
    path: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class CorpusSummary:
    name: str
    num_tracks: dict[str, int]
    """Per split."""

    hours: float
    num_captioned: int
    num_rejected: int

    @property
    def num_used(self) -> int:
        return sum(self.num_tracks.values())


@dataclass(frozen=True, kw_only=True)
class LicenseSummary:
    name: str
    num_tracks: int
    hours: float
    noncommercial: bool


@dataclass(frozen=True, kw_only=True)
class Music:
    """All corpora of a run."""

    corpora: list[CorpusSummary]
    licenses: list[LicenseSummary]
    """By hours, most first; over all splits."""

    rejected: list[Rejected]
    reasons: list[tuple[str, int]]
    credits: list[ManifestRecord]
    """Tracks trained on, to be named."""


def read_music(manifests: Sequence[Path], inventories: Sequence[Path]) -> Music:
    """Read manifest folders and inventories of the same corpora; corpora are told apart by the names of folders."""
    by_corpus = {
        folder.name: [r for split in SPLITS for r in read_manifest(folder / f"{split}.jsonl")] for folder in manifests
    }
    rejected = [line for folder in manifests for line in _rejected_when_prepared(folder)]
    rejected += [line for path in inventories for line in _rejected_when_found(path)]
    rejected.sort(key=lambda line: (line.corpus, line.path))
    corpora = [_summarise(name, records, rejected) for name, records in by_corpus.items()]
    everything = [record for records in by_corpus.values() for record in records]
    return Music(
        corpora=corpora,
        licenses=_licenses(everything),
        rejected=rejected,
        reasons=Counter(line.reason for line in rejected).most_common(),
        credits=[record for record in everything if record.split == "train"],
    )


def is_noncommercial(license_name: str) -> bool:
    """Whether a licence's short name says non-commercial, as CC-BY-NC-4.0 does. A hint, not legal advice."""
    return "NC" in license_name.upper().replace("_", "-").split("-") or "NONCOMMERCIAL" in license_name.upper()


def _summarise(name: str, records: Sequence[ManifestRecord], rejected: Sequence[Rejected]) -> CorpusSummary:
    counts = Counter(record.split for record in records)
    return CorpusSummary(
        name=name,
        num_tracks={split: counts[split] for split in SPLITS},
        hours=sum(record.duration for record in records) / 3600,
        num_captioned=sum(record.caption is not None for record in records),
        num_rejected=sum(line.corpus == name for line in rejected),
    )


def _licenses(records: Sequence[ManifestRecord]) -> list[LicenseSummary]:
    tracks: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    for record in records:
        tracks[record.license or NO_LICENSE] += 1
        seconds[record.license or NO_LICENSE] = seconds.get(record.license or NO_LICENSE, 0.0) + record.duration
    return [
        LicenseSummary(name=name, num_tracks=tracks[name], hours=total / 3600, noncommercial=is_noncommercial(name))
        for name, total in sorted(seconds.items(), key=lambda item: -item[1])
    ]


def _rejected_when_prepared(folder: Path) -> list[Rejected]:
    return [
        Rejected(corpus=folder.name, path=line["path"], reason=line["reason"], detail=line["detail"] or "")
        for line in read_jsonl(folder / "rejected.jsonl")
    ]


def _rejected_when_found(path: Path) -> list[Rejected]:
    return [
        Rejected(corpus=path.parent.name, path=r.path, reason=r.reason or "", detail=r.detail or "")
        for r in read_records(path, InventoryRecord)
        if r.status == "rejected"
    ]
