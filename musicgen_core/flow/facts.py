"""What each run's signature covers, results/plan/facts/RUN.json: it says that something differs, these say what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from musicgen_core.config.plain import fill_in
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.util.atomic import write_json_if_changed

FOLDER = "facts"


def write_facts(plan_dir: Path, facts: dict[str, dict[str, Any]]) -> None:
    """By folder of the run. Those of runs that the config no longer names stay."""
    for folder, covered in facts.items():
        write_json_if_changed(plan_dir / FOLDER / f"{folder}.json", covered)


def read_facts(plan_dir: Path, folder: str) -> dict[str, Any] | None:
    """None for a run that was planned before facts were kept, and for a file that is damaged."""
    try:
        value = json.loads((plan_dir / FOLDER / f"{folder}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and {"versions", "data", "train"} <= value.keys() else None


def compare_facts(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """`key old -> new` for all that differs; of music and words, how much does."""
    for stage, version in now["versions"].items():
        if before["versions"].get(stage) != version:
            yield f"version of {stage} {before['versions'].get(stage)} -> {version}"
    then, today = (fill_in(TrainStageConfig, one["train"]) for one in (before, now))
    yield from differences(then, today)
    if before["data"].keys() != now["data"].keys():
        yield f"corpora {_shown(sorted(before['data']))} -> {_shown(sorted(now['data']))}"
    for corpus in sorted(before["data"].keys() & now["data"].keys()):
        yield from _compare_data(corpus, before["data"][corpus], now["data"][corpus])
    for stage in ("resample", "tokenize"):
        yield from differences(before[stage], now[stage], "" if stage == "tokenize" else stage)
    for corpus in sorted(before["manifest"].keys() & now["manifest"].keys()):
        yield from differences(before["manifest"][corpus], now["manifest"][corpus], f"corpora.{corpus}")


def _compare_data(corpus: str, before: list[Any], now: list[Any]) -> Iterator[str]:
    (old, old_words), (new, new_words) = before, now
    sizes = [{name.rpartition("-of-")[2] for name in names} for names in (old, new)]
    if sizes[0] != sizes[1]:
        yield f"corpora.{corpus}.num_buckets {_number(sizes[0])} -> {_number(sizes[1])}"
    elif differ := sum(old.get(name) != new.get(name) for name in {*old, *new}):
        yield f"tracks in {differ} of {len({*old, *new})} buckets of {corpus}"
    if old_words != new_words:
        yield f"words, licences, splits or names of tracks of {corpus}"


def differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """`key old -> new` for every leaf that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif before != now:
        yield f"{name} {_shown(before)} -> {_shown(now)}"


def _number(sizes: set[str]) -> str:
    return ", ".join(str(int(size)) for size in sorted(sizes))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
