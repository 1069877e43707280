"""What a run left in its folder, read once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_core.eval.clips import Clip, read_clips
from musicgen_core.eval.samples import Sample, read_samples
from musicgen_core.util.atomic import read_jsonl


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """A run's records. Folders are the run's own."""

    config: dict[str, Any]
    """config.json: the training's config, versions and digests."""

    train: list[dict[str, Any]]
    """Lines of history.jsonl with kind `train`."""

    valid: list[dict[str, Any]]
    done: dict[str, Any] | None
    """null: training has not ended."""

    export: dict[str, Any]
    metrics: dict[str, Any]
    samples: list[Sample]
    clips: list[Clip]
    references: Path
    """Folder of the clips' files."""


def read_run(run_dir: Path) -> RunFiles:
    """Read a run's folder. FileNotFoundError or ValueError names the file that is absent or damaged."""
    history = read_jsonl(run_dir / "history.jsonl")
    return RunFiles(
        config=_read_json(run_dir / "config.json"),
        train=[line for line in history if line["kind"] == "train"],
        valid=[line for line in history if line["kind"] == "valid"],
        done=_read_json(run_dir / "DONE") if (run_dir / "DONE").exists() else None,
        export=_read_json(run_dir / "export" / "config.json"),
        metrics=_read_json(run_dir / "metrics.json"),
        samples=read_samples(run_dir / "samples"),
        clips=read_clips(run_dir / "references"),
        references=run_dir / "references",
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error.msg})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value
