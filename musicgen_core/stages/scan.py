"""Scan: take stock of the corpora and write down the plan. Runs in Snakemake's main process, at parse time.

Every file under results/plan is rewritten only when its content changed, so its time stamp speaks of a change.
"""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from musicgen_core.config.data import CorpusConfig
from musicgen_core.config.root import ScanStageConfig
from musicgen_core.data.inventory import Inventory, find_files, take_inventory
from musicgen_core.data.plan import CorpusPlan, Plan
from musicgen_core.data.snapshot import Snapshot, digest_corpus, digest_written, read_snapshot, write_snapshot
from musicgen_core.stages import STAGES
from musicgen_core.util.atomic import write_text_if_changed
from musicgen_core.util.digest import digest_json, digest_lines
from musicgen_core.util.log import say

SHOWN_NOTES = 3
WRITTEN = ("inventory.jsonl", "notes.jsonl", "metadata.jsonl")


def run(config: ScanStageConfig, *, results: Path) -> Plan:
    """Scan every corpus, write results/plan, and print what is used and what is rejected, and why.

    Raises ValueError with one line about the first corpus that cannot be used; OSError when results cannot be written.
    """
    with _without_collector():
        corpora = {name: _plan_corpus(name, corpus, config, results) for name, corpus in config.corpora.items()}
    plan = Plan(config_digest=digest_config(config), corpora=corpora)
    write_text_if_changed(results / "plan" / "plan.json", plan.to_text())
    return plan


def digest_config(config: ScanStageConfig) -> str:
    """Digest of what the plan depends on, without where the corpora lie."""
    value = asdict(config)
    for corpus in value["corpora"].values():
        del corpus["path"]
    return digest_json(value)


def _plan_corpus(name: str, corpus: CorpusConfig, config: ScanStageConfig, results: Path) -> CorpusPlan:
    """Take the plan as it lies when nothing of the corpus changed; else take its inventory."""
    folder = results / "plan" / name
    found = find_files(name, corpus, skip=results)
    digest = digest_corpus(corpus, config.data, STAGES["scan"].version, found)
    former = read_snapshot(folder)
    if former is not None and former.corpus == digest and former.written == digest_written(folder, WRITTEN):
        plan, lines = former.plan, former.lines
    else:
        inventory = take_inventory(name, corpus, config.data, folder / "cache.jsonl", found)
        plan = _write(folder, inventory)
        lines = _describe(name, plan, inventory, folder)
        if inventory.complete:
            written = digest_written(folder, WRITTEN)
            write_snapshot(folder, Snapshot(corpus=digest, written=written, plan=plan, lines=lines))
    for line in lines:
        say(line)
    return plan


def _write(folder: Path, inventory: Inventory) -> CorpusPlan:
    _write_lines(folder / "inventory.jsonl", [record.to_dict() for record in inventory.files])
    _write_lines(folder / "notes.jsonl", [asdict(note) for note in inventory.notes])
    metadata = _write_lines(folder / "metadata.jsonl", [track.to_dict() for track in inventory.tracks])
    return CorpusPlan(
        buckets=_write_buckets(folder, inventory),
        metadata_digest=digest_metadata(metadata),
        num_used=len(inventory.tracks),
        num_rejected=dict(Counter(r.reason or "" for r in inventory.files if r.status == "rejected")),
        num_ignored=sum(r.status == "ignored" for r in inventory.files),
        num_captioned=sum(track.caption is not None for track in inventory.tracks),
        num_notes=len(inventory.notes),
        duration_sec=sum(r.duration_sec or 0.0 for r in inventory.files if r.status == "used"),
    )


@contextmanager
def _without_collector() -> Iterator[None]:
    """Millions of small objects are made and none of them in a cycle: the cyclic collector only costs time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def digest_metadata(text: str) -> str:
    """Digest of the text of metadata.jsonl."""
    return digest_lines([text])


def _write_buckets(folder: Path, inventory: Inventory) -> dict[str, str]:
    """Write the keys of each bucket, and where its files lie; remove lists of buckets that are gone."""
    buckets: dict[str, dict[str, str]] = {}
    for track in inventory.tracks:
        buckets.setdefault(track.bucket, {})[track.track] = track.path
    for bucket, paths in buckets.items():
        write_text_if_changed(folder / "buckets" / f"{bucket}.txt", "".join(f"{key}\n" for key in sorted(paths)))
        locations = json.dumps(paths, indent=0, sort_keys=True, ensure_ascii=False)
        write_text_if_changed(folder / "locations" / f"{bucket}.json", locations + "\n")
    for old in [*folder.glob("buckets/*.txt"), *folder.glob("locations/*.json")]:
        if old.stem not in buckets:
            old.unlink()
    return {bucket: digest_lines(sorted(buckets[bucket])) for bucket in sorted(buckets)}


def _write_lines(path: Path, records: list[dict[str, Any]]) -> str:
    encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make an encoder for every record
    text = "".join(encode(record) + "\n" for record in records)
    write_text_if_changed(path, text)
    return text


def _describe(name: str, plan: CorpusPlan, inventory: Inventory, folder: Path) -> list[str]:
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(plan.num_rejected.items()))
    rejected = f"{sum(plan.num_rejected.values())} rejected{f' ({reasons})' if reasons else ''}"
    hours = plan.duration_sec / 3600
    lines = [
        f"plan: {name}: {plan.num_used} tracks used ({hours:.2f} h, {plan.num_captioned} with caption) in "
        f"{len(plan.buckets)} buckets; {rejected}; {plan.num_ignored} other files"
    ]
    for record in [r for r in inventory.files if r.status == "rejected"][:SHOWN_NOTES]:
        lines.append(f"plan: {name}: rejected {record.path}: {record.reason}: {record.detail}")
    for note in inventory.notes[:SHOWN_NOTES]:
        lines.append(f"plan: {name}: note: {note.path}{f', line {note.line}' if note.line else ''}: {note.text}")
    hidden = max(0, sum(plan.num_rejected.values()) - SHOWN_NOTES) + max(0, plan.num_notes - SHOWN_NOTES)
    if hidden:
        lines.append(f"plan: {name}: {hidden} more lines in {folder}/inventory.jsonl and notes.jsonl")
    return lines
