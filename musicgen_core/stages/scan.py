"""Scan: take stock of the corpora and write down the plan. Runs in Snakemake's main process, at parse time.

Every file under results/plan is rewritten only when its content changed, so its time stamp speaks of a change.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from musicgen_core.config.data import CorpusConfig
from musicgen_core.config.root import ScanStageConfig
from musicgen_core.data.inventory import Inventory, take_inventory
from musicgen_core.data.plan import CorpusPlan, Plan
from musicgen_core.util.atomic import write_text_if_changed
from musicgen_core.util.digest import digest_json, digest_lines
from musicgen_core.util.log import say

SHOWN_NOTES = 3


def run(config: ScanStageConfig, *, results: Path) -> Plan:
    """Scan every corpus, write results/plan, and print what is used and what is rejected, and why.

    Raises ValueError with one line about the first corpus that cannot be used; OSError when results cannot be written.
    """
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
    folder = results / "plan" / name
    inventory = take_inventory(name, corpus, config.data, folder / "cache.jsonl", skip=results)
    _write_lines(folder / "inventory.jsonl", [record.to_dict() for record in inventory.files])
    _write_lines(folder / "notes.jsonl", [asdict(note) for note in inventory.notes])
    metadata = _write_lines(folder / "metadata.jsonl", [track.to_dict() for track in inventory.tracks])
    plan = CorpusPlan(
        buckets=_write_buckets(folder, inventory),
        metadata_digest=digest_metadata(metadata),
        num_used=len(inventory.tracks),
        num_rejected=dict(Counter(r.reason or "" for r in inventory.files if r.status == "rejected")),
        num_ignored=sum(r.status == "ignored" for r in inventory.files),
        num_captioned=sum(track.caption is not None for track in inventory.tracks),
        num_notes=len(inventory.notes),
        duration_sec=sum(r.duration_sec or 0.0 for r in inventory.files if r.status == "used"),
    )
    _show(name, plan, inventory, folder)
    return plan


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
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    write_text_if_changed(path, text)
    return text


def _show(name: str, plan: CorpusPlan, inventory: Inventory, folder: Path) -> None:
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(plan.num_rejected.items()))
    rejected = f"{sum(plan.num_rejected.values())} rejected{f' ({reasons})' if reasons else ''}"
    hours = plan.duration_sec / 3600
    say(
        f"plan: {name}: {plan.num_used} tracks used ({hours:.2f} h, {plan.num_captioned} with caption) in "
        f"{len(plan.buckets)} buckets; {rejected}; {plan.num_ignored} other files"
    )
    for record in [r for r in inventory.files if r.status == "rejected"][:SHOWN_NOTES]:
        say(f"plan: {name}: rejected {record.path}: {record.reason}: {record.detail}")
    for note in inventory.notes[:SHOWN_NOTES]:
        say(f"plan: {name}: note: {note.path}{f', line {note.line}' if note.line else ''}: {note.text}")
    hidden = max(0, sum(plan.num_rejected.values()) - SHOWN_NOTES) + max(0, plan.num_notes - SHOWN_NOTES)
    if hidden:
        say(f"plan: {name}: {hidden} more lines in {folder}/inventory.jsonl and notes.jsonl")
