"""Export: write a trained model as safetensors and JSON, with the licences of what it was trained on."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

from musicgen_core.config.load import from_dict
from musicgen_core.config.root import ExportStageConfig, TrainStageConfig
from musicgen_core.data.manifest import ManifestRecord, read_manifest
from musicgen_core.util.atomic import atomic_folder, write_text
from musicgen_core.util.log import say

NO_LICENSE = "not stated"


def run(config: ExportStageConfig, *, run_dir: Path, manifests: list[Path], out: Path) -> None:
    """Write `out` from the best averaged weights of `run_dir`; `manifests` are the corpus folders it was trained on.

    Writes model.safetensors, config.json, README.md and transformers/, all or nothing. Raises FileNotFoundError when
    the run has no checkpoint and ValueError when its weights do not fit its config.
    """
    from musicgen_core.lm.card import write_card
    from musicgen_core.lm.interchange import save_transformers
    from musicgen_core.lm.model import build_model
    from musicgen_core.lm.weights import load_state, save_export
    from musicgen_core.train.checkpoint import load_best_weights

    raw = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
    trained = from_dict(TrainStageConfig, {item.name: raw[item.name] for item in fields(TrainStageConfig)})
    weights, best = load_best_weights(run_dir)
    model = build_model(trained.model, trained.conditioner, trained.codec)
    load_state(model, weights, str(run_dir))
    extra = {"step": best["step"], "loss": best["loss"], "weights": "ema", **_provenance(manifests)}
    if raw.get("continued_from"):
        extra["continued_from"] = raw["continued_from"]  # its tracks are in these weights too
    with atomic_folder(out) as folder:
        save_export(folder, model, trained, extra)
        info = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        write_text(folder / "README.md", write_card(model, info))
        (folder / "transformers").mkdir()
        save_transformers(folder / "transformers", model)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    say(f"exported step {best['step']} ({num_parameters:,} parameters, {extra['tracks']} tracks) to {out}")


def _provenance(manifests: list[Path]) -> dict[str, Any]:
    """Number of training tracks, tracks per licence, and one line per track whose licence is known."""
    records = [record for folder in manifests for record in read_manifest(folder / "train.jsonl")]
    licenses = Counter(record.license or NO_LICENSE for record in records)
    attributions = sorted({_attribution(record) for record in records if record.license})
    return {"tracks": len(records), "licenses": dict(licenses), "attributions": attributions}


def _attribution(record: ManifestRecord) -> str:
    title = record.title or record.name or record.path
    return f"{title}, by {record.artist or 'unknown'} ({record.license})"
