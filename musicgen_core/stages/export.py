"""Export: write a trained model as safetensors and JSON, with the licences of what it was trained on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from musicgen_core.config.codec_channels import with_channels
from musicgen_core.config.codec_spec import read_codec_folder, read_model_config
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.load import from_record
from musicgen_core.config.outside import list_outside
from musicgen_core.config.root import ExportStageConfig
from musicgen_core.data.manifest import ManifestRecord, read_manifest
from musicgen_core.data.plan import read_where
from musicgen_core.util.atomic import atomic_folder, write_text
from musicgen_core.util.log import say

SPLITS = ("train", "valid", "evaluate")
NO_LICENSE = "not stated"


def run(config: ExportStageConfig, *, run_dir: Path, manifests: list[Path], where: Path, out: Path) -> None:
    """Write `out` from the best averaged weights of `run_dir`; `manifests` are the corpus folders it was trained on.

    Writes model.safetensors, config.json, README.md, codec/ and transformers/, all or nothing; `where` says where the
    codec is. Raises FileNotFoundError when the run has no checkpoint, and ValueError when its weights do not fit its
    config or the codec is not the one it was trained on.
    """
    from musicgen_core.codec.files import copy_codec
    from musicgen_core.layouts.text_encoder import vocabulary
    from musicgen_core.layouts.transformers_write import save_for_transformers
    from musicgen_core.lm.card import write_card
    from musicgen_core.lm.model import build_model
    from musicgen_core.lm.weights import CODEC_NAME, WORDS_NAME, load_state, save_export
    from musicgen_core.train.checkpoint import load_best_weights

    raw = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
    trained = from_record(raw)
    weights, best = load_best_weights(run_dir)
    try:
        model = build_model(trained.model, trained.conditioner, trained.codec)
    except FileNotFoundError as error:
        remedy = f"it lay there when {run_dir} was trained: put it, or a link to it, there"
        raise FileNotFoundError(f"{error}; {remedy}") from None
    load_state(model, weights, str(run_dir))
    extra = {"step": best["step"], "loss": best["loss"], "weights": "ema", **_provenance(manifests)}
    if raw.get("continued_from"):
        extra["continued_from"] = raw["continued_from"]  # its tracks are in these weights too
    if raw.get("init_from"):
        extra["init_from"] = raw["init_from"]  # what these weights were before, and under which licence
    codec = _find_codec(trained.codec, read_where(where).codec)
    words = vocabulary(_captions(manifests))
    lacks = list_outside(trained.conditioner, trained.model.conditions)
    num_frames = max(1, round(trained.training.segment_sec * trained.codec.frame_rate_hz))
    with atomic_folder(out) as folder:
        save_export(folder, model, trained, extra)
        write_text(folder / WORDS_NAME, "".join(f"{word}\n" for word in words))
        (folder / CODEC_NAME).mkdir()
        copy_codec(codec, folder / CODEC_NAME)
        (folder / "transformers").mkdir()
        notes = save_for_transformers(folder / "transformers", model, codec, words, num_frames)
        info = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architecture = read_model_config(folder / "transformers")["architectures"][0]
        write_text(folder / "README.md", write_card(model, info, architecture, notes, lacks))
    for note in notes:
        say(f"note: transformers/: {note}")
    for line in lacks:
        say(f"note: {out} {line}")
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    say(f"exported step {best['step']} ({num_parameters:,} parameters, {extra['tracks']} tracks) to {out}")


def _find_codec(trained: CodecSpec, folder: Path) -> Path:
    """The codec's folder. ValueError unless it is the one whose codes the run was trained on."""
    found = with_channels(read_codec_folder(folder), trained.num_channels, folder)
    if found.digest != trained.digest:
        raise ValueError(
            f"the run was trained on codec {trained.name} with digest {trained.digest}, but {folder} has "
            f"{found.digest}; set `codec` in config.yaml to the codec of the training"
        )
    return folder


def _captions(manifests: list[Path]) -> list[str | None]:
    """Of every split: held-out captions are prompts too."""
    paths = [path for folder in manifests for path in sorted(folder.glob("*.jsonl")) if path.stem in SPLITS]
    return [record.caption for path in paths for record in read_manifest(path)]


def _provenance(manifests: list[Path]) -> dict[str, Any]:
    """Number of training tracks, tracks per licence, and one line per track whose licence is known."""
    records = [record for folder in manifests for record in read_manifest(folder / "train.jsonl")]
    licenses = Counter(record.license or NO_LICENSE for record in records)
    attributions = sorted({_attribution(record) for record in records if record.license})
    return {"tracks": len(records), "licenses": dict(licenses), "attributions": attributions}


def _attribution(record: ManifestRecord) -> str:
    title = record.title or record.name or record.path
    return f"{title}, by {record.artist or 'unknown'} ({record.license})"
