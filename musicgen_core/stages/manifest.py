"""Manifest: write train, valid, evaluate and generate JSONL of one corpus, tables of them, and who was rejected."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from musicgen_core.config.root import ManifestStageConfig
from musicgen_core.data.manifest import ManifestRecord, join_record, read_records
from musicgen_core.data.placement import is_licensed
from musicgen_core.data.records import PreparedRecord, TrackRecord
from musicgen_core.data.splits import SPLITS
from musicgen_core.data.tracks import write_track_list
from musicgen_core.stages.scan import digest_metadata
from musicgen_core.util.atomic import write_jsonl
from musicgen_core.util.log import say


def run(config: ManifestStageConfig, *, metadata: Path, digest: str, audio: list[Path], out: Path) -> None:
    """Join the corpus's words (`metadata`, with the digest the plan gave) with what was measured of its audio.

    `out` is a folder. Raises ValueError, with the figures and the remedy, when the metadata changed since the plan, a
    split ends up empty, or no track has a caption (unless allowed).
    """
    if digest_metadata(metadata.read_text(encoding="utf-8")) != digest:
        raise ValueError(f"{metadata}: changed since the plan; start snakemake again")
    prepared = {record.key: record for path in audio for record in read_records(path, PreparedRecord)}
    records: list[ManifestRecord] = []
    rejected: list[dict[str, Any]] = []
    for track in read_records(metadata, TrackRecord):
        if track.track not in prepared:
            raise ValueError(
                f"{track.path}: in {metadata} but in none of {len(audio)} audio lists; start snakemake again"
            )
        refusal = _refuse(track, prepared[track.track], config)
        if refusal is None:
            records.append(join_record(track, prepared[track.track], config.corpus, config.weight))
        else:
            rejected.append(refusal)
    records.sort(key=lambda record: record.path)
    _show(config.corpus, records, rejected)
    _check(config, records, rejected)
    for split in SPLITS:
        write_jsonl(out / f"{split}.jsonl", [r.to_dict() for r in records if r.split == split])
        write_track_list(out / f"{split}.jsonl")
    write_jsonl(out / "generate.jsonl", [r.to_dict() for r in _choose_prompts(records)])
    write_jsonl(out / "rejected.jsonl", sorted(rejected, key=lambda line: str(line["path"])))


def _refuse(track: TrackRecord, prepared: PreparedRecord, config: ManifestStageConfig) -> dict[str, Any] | None:
    line = {"track": track.track, "path": track.path, "corpus": config.corpus, "license": track.license}
    if prepared.status == "rejected":
        return {**line, "reason": prepared.reason, "detail": prepared.detail}
    if track.split is None or not is_licensed(track.license, config.licenses):
        detail = f"{track.license or 'no licence'}; allowed: {', '.join(config.licenses or ())}"
        return {**line, "reason": "license", "detail": detail}
    return None


def _choose_prompts(records: list[ManifestRecord]) -> list[ManifestRecord]:
    """Pick held-out tracks with different captions, in the order of their digests, which is no order of the music."""
    chosen: dict[str, ManifestRecord] = {}
    for record in sorted(records, key=lambda record: record.track):
        if record.split == "evaluate" and record.caption:
            chosen.setdefault(record.caption, record)
    return list(chosen.values())


def _check(config: ManifestStageConfig, records: list[ManifestRecord], rejected: list[dict[str, Any]]) -> None:
    counts = Counter(record.split for record in records)
    empty = [split for split in SPLITS if not counts[split]]
    if empty:
        raise ValueError(
            f"corpora.{config.corpus}: no track left for {' and '.join(empty)} ({len(records)} used, {len(rejected)} "
            "rejected, each named above); remove the rejected files, add music, or change data.split_salt"
        )
    num_captioned = sum(record.caption is not None for record in records)
    if not num_captioned and not config.allow_uncaptioned:
        raise ValueError(
            f"corpora.{config.corpus}: 0 of {len(records)} tracks have a caption; add captions, or set "
            "data.allow_uncaptioned: true to train without"
        )


def _show(corpus: str, records: list[ManifestRecord], rejected: list[dict[str, Any]]) -> None:
    say(f"manifest {corpus}:  split      tracks   hours  with caption")
    for split in SPLITS:
        part = [record for record in records if record.split == split]
        hours = sum(record.duration for record in part) / 3600
        say(f"manifest {corpus}:  {split:10} {len(part):6} {hours:7.2f} {sum(r.caption is not None for r in part):13}")
    for line in rejected:
        say(f"manifest {corpus}:  rejected {line['path']}: {line['reason']}: {line['detail']}")
