"""Scan: take stock of the corpora and write down the plan. Runs in Snakemake's main process, at parse time.

Every file under results/plan is rewritten only when its content changed, so its time stamp speaks of a change.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from musicgen_core.config.data import CorpusConfig
from musicgen_core.config.plain import to_plain
from musicgen_core.config.root import ScanStageConfig
from musicgen_core.data.amend import amend
from musicgen_core.data.away import check_links, describe_loss
from musicgen_core.data.inventory import Inventory, find_files, take_inventory
from musicgen_core.data.plan import CorpusPlan, Plan, read_plan
from musicgen_core.data.plan_files import (
    add_durations,
    remove_bucket,
    set_aside,
    show_notes,
    show_rejected,
    write_bucket,
    write_lines,
    write_notes,
    write_rejected,
)
from musicgen_core.data.snapshot import (
    FILES,
    Snapshot,
    digest_settings,
    digest_tables,
    digest_written,
    read_snapshot,
    write_snapshot,
)
from musicgen_core.data.table_edits import FORMER, ROWS, keep_table
from musicgen_core.native import FolderList
from musicgen_core.stages import STAGES
from musicgen_core.util.atomic import write_text_if_changed
from musicgen_core.util.digest import digest_json, digest_lines
from musicgen_core.util.log import say

SHOWN_NOTES = 3
WRITTEN = ("inventory.jsonl", "rejected.jsonl", "notes.jsonl", "metadata.jsonl", FORMER, ROWS)


def run(config: ScanStageConfig, *, results: Path) -> Plan:
    """Scan every corpus, write results/plan, and print what is used and what is rejected, and why.

    Raises ValueError with one line about the first corpus that cannot be used; OSError when results cannot be written.
    """
    before = _count_used(results / "plan" / "plan.json")
    with _without_collector():
        corpora = {name: _plan_corpus(name, corpus, config, results) for name, corpus in config.corpora.items()}
    for name, planned in corpora.items():
        if line := describe_loss(name, before.get(name, 0), planned.num_used):
            say(line)
    plan = Plan(config_digest=digest_config(config), corpora=corpora)
    write_text_if_changed(results / "plan" / "plan.json", plan.to_text())
    return plan


def _count_used(plan: Path) -> dict[str, int]:
    """Tracks that the last plan used, by corpus; empty where there was none."""
    try:
        return {name: corpus.num_used for name, corpus in read_plan(plan).corpora.items()}
    except (OSError, ValueError):
        return {}


def digest_config(config: ScanStageConfig) -> str:
    """Digest of what the plan depends on, without where the corpora lie."""
    value = to_plain(config)
    for corpus in value["corpora"].values():
        del corpus["path"]
    return digest_json(value)


def _plan_corpus(name: str, corpus: CorpusConfig, config: ScanStageConfig, results: Path) -> CorpusPlan:
    """Take the plan as it lies when nothing of the corpus changed, amend it where little did; else scan all of it."""
    folder = results / "plan" / name
    found = find_files(name, corpus, skip=results)
    files, settings = found.digest(), digest_settings(corpus, config.data, STAGES["scan"].version)
    tables = digest_tables(corpus)  # before they are read
    former = read_snapshot(folder)
    if former is not None and (former.settings != settings or former.written != digest_written(folder, WRITTEN)):
        former = None
    if former is not None and (former.files, former.tables) == (files, tables):
        for line in former.lines:
            say(line)
        return former.plan
    try:
        check_links(found, folder / FILES)
    except ValueError as error:
        raise ValueError(f"corpora.{name} ({corpus.path}): {error}") from None
    amended = amend(name, corpus, config.data, folder, former, found) if former is not None else None
    plan, spare, aside = amended or _plan_anew(name, corpus, config, folder, found)
    write_rejected(folder)
    lines = _describe(name, plan, folder)
    if spare is not None:
        found.write(folder / FILES)
        written = digest_written(folder, WRITTEN)
        snapshot = Snapshot(
            settings=settings,
            tables=tables,
            files=files,
            written=written,
            plan=plan,
            lines=lines,
            spare=spare,
            aside=aside,
        )
        write_snapshot(folder, snapshot)
    for line in lines:
        say(line)
    return plan


def _plan_anew(
    name: str, corpus: CorpusConfig, config: ScanStageConfig, folder: Path, found: FolderList
) -> tuple[CorpusPlan, int | None, dict[str, list[str]]]:
    """Scan all files and write the plan. Without a number of spare tracks the plan is not to be relied on next time."""
    inventory = take_inventory(name, corpus, config.data, folder / "cache.jsonl", found.files())
    plan = _write(folder, inventory)
    keep_table(folder, inventory.tables)
    return plan, inventory.spare if inventory.complete else None, set_aside({}, set(), inventory.files)


def _write(folder: Path, inventory: Inventory) -> CorpusPlan:
    write_lines(folder / "inventory.jsonl", inventory.files)
    write_notes(folder, inventory.notes)
    metadata = write_lines(folder / "metadata.jsonl", inventory.tracks)
    return CorpusPlan(
        buckets=_write_buckets(folder, inventory),
        metadata_digest=digest_metadata(metadata),
        num_used=len(inventory.tracks),
        num_rejected=dict(Counter(r.reason or "" for r in inventory.files if r.status == "rejected")),
        num_ignored=sum(r.status == "ignored" for r in inventory.files),
        num_captioned=sum(track.caption is not None for track in inventory.tracks),
        num_notes=len(inventory.notes),
        duration_sec=add_durations(inventory.files),
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
    """Write the lists of each bucket; remove those of buckets that are gone."""
    buckets: dict[str, dict[str, str]] = {}
    for track in inventory.tracks:
        buckets.setdefault(track.bucket, {})[track.track] = track.path
    digests = {bucket: write_bucket(folder, bucket, buckets[bucket]) for bucket in sorted(buckets)}
    for old in {
        path.stem for path in (*folder.glob("buckets/*.txt"), *folder.glob("locations/*.json"))
    } - digests.keys():
        remove_bucket(folder, old)
    return digests


def _describe(name: str, plan: CorpusPlan, folder: Path) -> list[str]:
    num_rejected = sum(plan.num_rejected.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(plan.num_rejected.items()))
    rejected = f"{num_rejected} rejected{f' ({reasons})' if reasons else ''}"
    hours = plan.duration_sec / 3600
    lines = [
        f"plan: {name}: {plan.num_used} tracks used ({hours:.2f} h, {plan.num_captioned} with caption) in "
        f"{len(plan.buckets)} buckets; {rejected}; {plan.num_ignored} other files"
    ]
    for path, reason, detail in show_rejected(folder, SHOWN_NOTES) if num_rejected else ():
        lines.append(f"plan: {name}: rejected {path}: {reason}: {detail}")
    for note in show_notes(folder, SHOWN_NOTES):
        line = f", line {note['line']}" if note["line"] else ""
        lines.append(f"plan: {name}: note: {note['path']}{line}: {note['text']}")
    hidden = max(0, num_rejected - SHOWN_NOTES) + max(0, plan.num_notes - SHOWN_NOTES)
    if hidden:
        lines.append(f"plan: {name}: {hidden} more lines in {folder}/inventory.jsonl and notes.jsonl")
    return lines
