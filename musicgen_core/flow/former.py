"""What an output that was never made takes the place of: the same bucket's codes by another codec, the same corpus in
other buckets, the same run's results under another signature."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from musicgen_core.config.plain import fill_in, to_plain
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.flow.dry_run import Job
from musicgen_core.flow.facts import compare_facts, differences, read_facts
from musicgen_core.flow.resolve import Flow
from musicgen_core.stages import STAGES
from musicgen_core.util.receipt import Receipt, read_receipt

SHOWN = 3


def explain_new_tokens(job: Job, flow: Flow) -> Iterator[str]:
    """Of tokenize and index: what the codes of the codec before were made with, old -> new."""
    path = Path(job.outputs[0])
    inside = path.relative_to(flow.tokens_dir)
    others = [folder for folder in Path(flow.tokens_dir).parent.glob("*") if folder != Path(flow.tokens_dir)]
    receipt = find_newest([folder / inside for folder in others])
    if receipt is not None:
        yield from differences(receipt.config, find_config(job, flow))


def explain_new_buckets(job: Job, flow: Flow) -> Iterator[str]:
    """Of resample and tokenize: how many buckets the corpus had before."""
    corpus, now = job.wildcards["corpus"], job.wildcards["bucket"].rpartition("-of-")[2]
    stage_folder = Path(f"{flow.results}/audio") if job.stage == "resample" else Path(flow.tokens_dir)
    made = [path for path in (stage_folder / corpus).glob("*-of-*.tar") if not path.stem.endswith(f"-of-{now}")]
    if made:
        newest = max(made, key=lambda path: path.stat().st_mtime_ns)
        yield f"corpora.{corpus}.num_buckets {int(newest.stem.rpartition('-of-')[2])} -> {int(now)}"


def explain_new_run(job: Job, flow: Flow) -> Iterator[str]:
    """Of a run and what follows it: how it differs from the newest training of its name."""
    folder = job.wildcards["run"]
    older = find_older(folder, flow)
    if older is None:
        return
    changed = list(_run_differences(older, folder, flow))
    if job.stage != "train":
        former = [
            flow.runs_dir / Path(older) / Path(path).relative_to(Path(flow.runs_dir) / folder) for path in job.outputs
        ]
        receipt = find_newest([one for path in former for one in (path, path.parent)])
        if receipt is not None:
            changed += differences(receipt.config, find_config(job, flow))
            if receipt.stage_version != STAGES[job.stage].version:
                changed.append(f"version of {job.stage} {receipt.stage_version} -> {STAGES[job.stage].version}")
    if changed:
        yield f"unlike {older}: {', '.join(shorten(dict.fromkeys(changed)))}"


def find_older(folder: str, flow: Flow) -> str | None:
    """Folder of the newest training under a run's name."""
    name = flow.planned[folder].name
    paths = [path for path in Path(flow.runs_dir).glob(f"{name}-*/config.json") if path.parent.name != folder]
    paths = [path for path in paths if path.parent.name.rpartition("-")[0] == name]
    return max(paths, key=lambda path: path.stat().st_mtime_ns).parent.name if paths else None


def _run_differences(older: str, folder: str, flow: Flow) -> Iterator[str]:
    then, now = (read_facts(Path(flow.plan_dir), name) for name in (older, folder))
    if then is not None and now is not None:
        yield from compare_facts(then, now)
        return
    before = json.loads((Path(flow.runs_dir) / older / "config.json").read_text(encoding="utf-8"))
    config = json.loads(json.dumps(to_plain(flow.configs()["train", folder])))
    whole = fill_in(TrainStageConfig, config)
    found = list(differences(fill_in(TrainStageConfig, {k: before[k] for k in whole if k in before}), whole))
    if before.get("stage_version", STAGES["train"].version) != STAGES["train"].version:
        found.append(f"version of train {before['stage_version']} -> {STAGES['train'].version}")
    yield from found or ["its music, its words, or how they are prepared changed (what of them was not kept)"]


def find_newest(outputs: list[Path]) -> Receipt | None:
    """The receipt of the output that was written last."""
    made = [path for path in outputs if path.exists() and read_receipt(path) is not None]
    return read_receipt(max(made, key=lambda path: path.stat().st_mtime_ns)) if made else None


def find_config(job: Job, flow: Flow) -> object:
    """The part of the config that a job's stage may depend on, as a receipt has it."""
    configs = flow.configs()
    name = job.wildcards.get("run") or job.wildcards.get("corpus") or ""
    config = configs.get((job.stage, name)) or configs.get((job.stage, ""))
    return json.loads(json.dumps(to_plain(config)))


def shorten(texts: Iterable[str]) -> Iterator[str]:
    """The first few, and how many more there are."""
    kept = list(texts)
    yield from kept[:SHOWN]
    if len(kept) > SHOWN:
        yield f"and {len(kept) - SHOWN} more"
