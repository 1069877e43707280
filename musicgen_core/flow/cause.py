"""Why a job would run: which input, key or version differs from what its output was made with, old -> new."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from musicgen_core.flow.dry_run import Job
from musicgen_core.flow.facts import differences
from musicgen_core.flow.former import (
    SHOWN,
    explain_new_buckets,
    explain_new_run,
    explain_new_tokens,
    find_config,
    shorten,
)
from musicgen_core.flow.resolve import Flow
from musicgen_core.stages import STAGES
from musicgen_core.util.atomic import read_jsonl
from musicgen_core.util.receipt import Receipt, check_inputs, compare, read_receipt


def explain(job: Job, flow: Flow, makers: dict[str, Job]) -> str:
    """One line about a job. `makers`: path -> the job that would make it anew."""
    causes = list(_explain_training(job, flow) if job.stage == "train" else _explain_stage(job, flow, makers))
    return f"{job.name}: {'; '.join(causes) or _plain(job.reason)}"


def _explain_stage(job: Job, flow: Flow, makers: dict[str, Job]) -> Iterator[str]:
    receipt = next((r for path in job.outputs if (r := _receipt(Path(path))) is not None), None)
    missing = [path for path in job.outputs if not Path(path).exists()]
    if missing and receipt is None:
        known = list(_explain_new(job, flow))
        yield from shorten(known) if known else [f"{missing[0]} was never made"]
        return
    if missing:
        yield f"{missing[0]} is gone"
    if "ncomplete" in job.reason:
        yield "it was interrupted"
    if "Forced" in job.reason:
        yield "it is forced"
    if receipt is not None:
        yield from _differences_of_stage(job, flow, receipt)
        yield from _differences_of_inputs(job, flow, receipt, makers)
        for path in job.outputs:
            seal = receipt.outputs.get(_inside(Path(path), receipt))
            if seal and Path(path).exists() and (difference := compare(Path(path), seal)):
                yield f"{path} {difference}"
    else:
        yield from _made_anew(job, makers)


def _explain_new(job: Job, flow: Flow) -> Iterator[str]:
    """What an output that was never made takes the place of."""
    if "run" in job.wildcards:
        yield from explain_new_run(job, flow)
        return
    if "bucket" in job.wildcards:
        yield from explain_new_buckets(job, flow)
    if job.stage in ("tokenize", "index"):
        yield from explain_new_tokens(job, flow)


def _differences_of_stage(job: Job, flow: Flow, receipt: Receipt) -> Iterator[str]:
    version = STAGES[job.stage].version
    if receipt.stage_version != version:
        yield f"version of {job.stage} {receipt.stage_version} -> {version}"
    yield from shorten(differences(receipt.config, find_config(job, flow)))


def _differences_of_inputs(job: Job, flow: Flow, receipt: Receipt, makers: dict[str, Job]) -> Iterator[str]:
    """Inputs of the last time that differ now, or will when the jobs before this one have run."""
    if job.stage == "resample":
        yield from shorten(_bucket_differences(job, flow))
        return
    if job.stage == "manifest":
        yield from shorten(_word_differences(job, flow, receipt.config["weight"]))
    small = [path for path in receipt.inputs if path.startswith(f"{flow.plan_dir}/") and Path(path).is_file()]
    changed = [
        path for path, digest in check_inputs([Path(p) for p in small]).items() if digest != receipt.inputs[path]
    ]
    if job.stage != "manifest":
        yield from shorten(f"{path} changed" for path in changed)
    yield from _made_anew(job, makers)


def _made_anew(job: Job, makers: dict[str, Job]) -> Iterator[str]:
    before = list(dict.fromkeys(makers[path].name for path in _updated(job.reason) if path in makers))
    if before:
        yield f"after {', '.join(before[:SHOWN])}" + (f" and {len(before) - SHOWN} more" if before[SHOWN:] else "")


def _bucket_differences(job: Job, flow: Flow) -> Iterator[str]:
    """Tracks that entered or left the bucket since it was prepared."""
    corpus, bucket = job.wildcards["corpus"], job.wildcards["bucket"]
    folder = Path(flow.plan_dir) / corpus
    places = json.loads((folder / f"locations/{bucket}.json").read_text(encoding="utf-8"))
    before = {line["key"]: line["path"] for line in _lines(Path(f"{flow.results}/audio/{corpus}/{bucket}.jsonl"))}
    yield from (f"+ {places[key]}" for key in sorted(places.keys() - before.keys(), key=places.__getitem__))
    yield from (f"- {before[key]}" for key in sorted(before.keys() - places.keys(), key=before.__getitem__))


def _word_differences(job: Job, flow: Flow, weight: float) -> Iterator[str]:
    """What is said of tracks now and was not when the manifest was written, at that `weight` of the corpus."""
    corpus = job.wildcards["corpus"]
    splits = [Path(f"{flow.results}/manifest/{corpus}/{name}.jsonl") for name in ("train", "valid", "evaluate")]
    before = {line["track"]: line for path in splits for line in _lines(path)}
    now = {line["track"]: line for line in _lines(Path(flow.plan_dir) / corpus / "metadata.jsonl")}
    for key in sorted(before.keys() & now.keys(), key=lambda key: str(now[key]["path"])):
        own = now[key].get("weight")
        new = {**now[key], "weight": weight * (1.0 if own is None else own)}  # as data/manifest.py joins them
        old = {name: before[key].get(name) for name in new}
        yield from (f"{new['path']}: {text}" for text in differences(old, new))


def _explain_training(job: Job, flow: Flow) -> Iterator[str]:
    """A run's folder is new when anything that its model depends on is: compared with the newest run of its name."""
    folder = job.wildcards["run"]
    planned, run_dir = flow.planned[folder], Path(flow.runs_dir) / folder
    if planned.begun and not planned.done:
        yield f"training began in {run_dir} and has not ended: it resumes"
        return
    if planned.done:
        return
    if planned.extends:
        yield f"extends {planned.extends} to {flow.runs[folder].training.steps} steps"
    if planned.starts:
        yield f"starts from the weights of {planned.starts}"
    unlike = list(explain_new_run(job, flow))
    yield from unlike or [f"{run_dir}/DONE was never made"]


def _plain(reason: str) -> str:
    return reason[:1].lower() + reason[1:] or "no reason given"


def _updated(reason: str) -> list[str]:
    """Paths that Snakemake names in a reason."""
    return [path.strip() for part in reason.split("; ") if ": " in part for path in part.split(": ", 1)[1].split(", ")]


def _receipt(path: Path) -> Receipt | None:
    return read_receipt(path) or read_receipt(path.parent)


def _inside(path: Path, receipt: Receipt) -> str:
    """Name of an output in its receipt: the file itself, or inside the folder that was sealed."""
    return path.name if path.name in receipt.outputs else f"{path.parent.name}/{path.name}"


def _lines(path: Path) -> list[dict[str, Any]]:
    return read_jsonl(path) if path.is_file() else []
