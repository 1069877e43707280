"""A run's own record: config.json says what it is, and attempts.jsonl how each start of it computes.

A start whose config or data are not those of the run's checkpoints is refused; one that computes otherwise is said.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from musicgen_core.config.execution import EXECUTION, describe_changes, pick_execution
from musicgen_core.config.places import without_places
from musicgen_core.config.plain import fill_in
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.config.source import check_source
from musicgen_core.train.initial import describe_initial
from musicgen_core.train.inputs import digest_corpora, digest_others
from musicgen_core.train.job import TrainJob
from musicgen_core.train.origin import digest_code, versions
from musicgen_core.train.ranks import Refused
from musicgen_core.util.atomic import read_jsonl, write_json, write_jsonl
from musicgen_core.util.log import say

ATTEMPTS = "attempts.jsonl"


def write_record(job: TrainJob, num_processes: int) -> None:
    """Write config.json and a line of attempts.jsonl, before any work is done. On the first process.

    Raises Refused for a resume of checkpoints that another config or other data made, naming what differs.
    """
    path = job.run_dir / "config.json"
    origin: dict[str, Any] = {
        "continued_from": job.continue_from.name if job.continue_from else None,
        "extended_from": job.extend_from.name if job.extend_from else None,
        "stage_version": job.stage_version,
    }
    begun = path.exists() and any(job.run_dir.glob("checkpoints/step-*"))
    if not begun:
        parent = job.continue_from or job.extend_from
        init = job.config.training.init_from
        if init is not None and parent is None:
            check_source(init, job.init_digest)
        origin["init_from"] = describe_initial(init, job.init_from, job.init_digest, parent)
    code = digest_code()
    now = json.loads(json.dumps({**asdict(job.config), **origin, "digests": digest_corpora(job), **digest_others(job)}))
    if begun:
        before = fill_in(TrainStageConfig, json.loads(path.read_text(encoding="utf-8")))
        now["init_from"] = before.get("init_from")
        for name in ("audio", "models"):  # runs have recorded these since 2026-11-21
            if name in now and name not in before:
                before[name] = now[name]
        if before.pop("versions") != versions() or before.pop("code", code) != code:
            say("train: note: other code or package versions than when this run began; numbers may differ slightly")
        found = _differences(without_places(before), without_places(now))
        if refused := [text for text in found if not text.startswith("training.init_from.")]:
            raise Refused(
                f"{job.run_dir} holds checkpoints of another run: {'; '.join(refused[:5])}; "
                "give the old values, or another run directory"
            )
        if changes := describe_changes(before["training"], now["training"]):
            say(f"train: resume: {changes}")
    write_json(path, {**now, "versions": versions(), "code": code})
    _note_attempt(job, num_processes)


def _note_attempt(job: TrainJob, num_processes: int) -> None:
    path = job.run_dir / ATTEMPTS
    try:
        before = read_jsonl(path)
    except (OSError, ValueError):  # it is there to be read by people: a torn one begins anew
        before = []
    attempt = {"time_sec": round(time.time(), 3), "processes": num_processes, **pick_execution(job.config.training)}
    write_jsonl(path, [*before, attempt])


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """What may not differ between two starts of a run."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            if name != "training" or key not in EXECUTION:
                yield from _differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif before != now:
        yield f"{name} was {before}, is {now}"
