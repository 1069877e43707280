"""A corpus of made-up codes with something to learn, for tests that need tokens but no audio."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_core import native
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.model import LutConditionerConfig, ModelConfig
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.config.training import TrainingConfig
from musicgen_core.data.manifest import ManifestRecord
from musicgen_core.data.tracks import write_track_list
from musicgen_core.util.atomic import write_jsonl

SPEC = CodecSpec(
    name="made_up", digest="0" * 32, sample_rate_hz=16000, num_channels=1, num_codebooks=4, card=64, hop_samples=320
)


def write_corpus(
    root: Path, name: str = "made", num_train: int = 6, num_valid: int = 2, num_frames: int = 300, weight: float = 1.0
) -> tuple[Path, Path]:
    """Write tokens and manifests -> (manifest folder, index file). Codes count up by the track's pace, with noise."""
    random = np.random.default_rng(0)
    folder, shard = root / "manifest" / name, root / "tokens" / name / "00000-of-00001.tar"
    shard.parent.mkdir(parents=True)
    records: dict[str, list[ManifestRecord]] = {"train": [], "valid": []}
    codes = {}
    for number in range(num_train + num_valid):
        key = native.hash_bytes(f"{name} {number}".encode())
        frames = num_frames + 7 * number
        pace = number % 3 + 1
        steps_KT = pace * np.arange(frames)[None] + 11 * np.arange(SPEC.num_codebooks)[:, None]
        noise_KT = random.integers(0, 4, steps_KT.shape)
        codes[key] = ((steps_KT + noise_KT) % SPEC.card).astype(np.uint16)
        split = "train" if number < num_train else "valid"
        records[split].append(make_record(name, split, key, f"song {number}.wav", f"pace {pace}", frames, weight))
    write_shard(shard, codes)
    index = shard.with_name("index.bin")
    native.write_token_index(index, [shard], SPEC.digest, SPEC.card)
    for split, lines in records.items():
        write_jsonl(folder / f"{split}.jsonl", [asdict(line) for line in lines])
        write_track_list(folder / f"{split}.jsonl")
    return folder, index


def tiny_config(model: dict[str, Any] | None = None, **training: Any) -> TrainStageConfig:
    """A run that takes about a second: two layers of width 32, 1 s segments, a log line for every step."""
    values: dict[str, Any] = {
        "steps": 20,
        "batch_size": 4,
        "segment_sec": 1.0,
        "learning_rate": 3e-3,
        "warmup_steps": 3,
        "ema_decay": 0.9,
        "ema_every_steps": 1,
        "log_every_steps": 1,
        "validate_every_steps": 10,
        "num_valid_segments": 6,
        "checkpoint_every_steps": 5,
        "device": "cpu",
    }
    return TrainStageConfig(
        seed=1,
        codec=SPEC,
        model=ModelConfig(**{"dim": 32, "num_heads": 2, "num_layers": 2, **(model or {})}),
        conditioner=LutConditionerConfig(num_bins=32, dim=8, max_words=4),
        training=TrainingConfig(**{**values, **training}),
    )


def make_record(
    corpus: str, split: str, key: str, path: str, caption: str | None, frames: int, weight: float
) -> ManifestRecord:
    values = dict.fromkeys(ManifestRecord.__dataclass_fields__)
    values |= {"path": path, "duration": frames / 50, "sample_rate": 16000, "weight": weight, "track": key}
    values |= {"corpus": corpus, "split": split, "bucket": "00000-of-00001", "caption": caption, "license": "CC0-1.0"}
    return ManifestRecord(**(values | {"num_samples": frames * 320}))


def write_shard(path: Path, codes: dict[str, np.ndarray]) -> None:
    with tarfile.open(path, "w") as tar:
        for key in sorted(codes):
            array = io.BytesIO()
            np.save(array, codes[key])
            about = {"key": key, "num_frames": codes[key].shape[1], "codec": SPEC.digest}
            for suffix, data in (("codes.npy", array.getvalue()), ("json", json.dumps(about).encode())):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def write_population(
    root: Path, name: str, num_frames: Sequence[int], weights: Sequence[float] | None = None
) -> tuple[native.TrackList, native.TokenShards]:
    """Write tracks of these lengths and weights, in this order, with random codes; 320 samples make a frame."""
    random = np.random.default_rng(len(num_frames))
    folder = root / name
    folder.mkdir(parents=True)
    codes, lines = {}, []
    for number, frames in enumerate(num_frames):
        key = native.hash_bytes(f"{name} {number}".encode())
        codes[key] = random.integers(0, SPEC.card, (SPEC.num_codebooks, frames)).astype(np.uint16)
        weight = None if weights is None else weights[number]
        lines.append({"track": key, "num_samples": frames * 320, "weight": weight, "caption": f"{name} {number}"})
    write_shard(folder / "shard.tar", codes)
    native.write_token_index(folder / "index.bin", [folder / "shard.tar"], SPEC.digest, SPEC.card)
    write_jsonl(folder / "train.jsonl", lines)
    write_track_list(folder / "train.jsonl")
    return native.TrackList(folder / "train.jsonl"), native.TokenShards(folder / "index.bin")
