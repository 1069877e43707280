"""What runs would cost, from sizes in the config and from what earlier jobs took: bytes and seconds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.root import RunConfig
from musicgen_core.flow.memory import count_parameters
from musicgen_core.util.atomic import read_jsonl
from musicgen_core.util.receipt import read_receipt

FLAC_SHARE = 0.6
"""Of 24-bit PCM that FLAC leaves of music, roughly; only for audio that has not been prepared before."""


def estimate_bytes(stage: str, seconds: float, codec: CodecSpec) -> int:
    """Bytes that a data stage writes for so many seconds of audio."""
    if stage == "resample":
        return round(seconds * codec.sample_rate_hz * codec.num_channels * 3 * FLAC_SHARE)
    if stage == "tokenize":
        return round(seconds * codec.frame_rate_hz * codec.num_codebooks * 2)
    return 0


def measure_rate(stage: str, outputs: Iterable[Path], seconds_of: dict[Path, float]) -> float | None:
    """Seconds of audio per second that earlier jobs of a stage took, by their receipts; None when there is none."""
    audio = took = 0.0
    for path in outputs:
        receipt = read_receipt(path)
        if receipt is not None and receipt.stage == stage and path in seconds_of:
            audio, took = audio + seconds_of[path], took + receipt.seconds
    return audio / took if took > 0 and audio > 0 else None


def measure_training(runs_dir: Path, run: RunConfig) -> tuple[float, str] | None:
    """(seconds per step, folder) of the newest training with the same model, batch and segment; None without one."""
    found = []
    for path in runs_dir.glob("*/config.json"):
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            history = [line for line in read_jsonl(path.parent / "history.jsonl") if line["kind"] == "train"]
            t = config["training"]
            same = (config["model"]["size"], t["batch_size"], t["segment_sec"], t["precision"]) == (
                run.model.size,
                run.training.batch_size,
                run.training.segment_sec,
                run.training.precision,
            )
            if same and history:
                rate = history[-1]["time_sec"] / history[-1]["step"]
                found.append((path.stat().st_mtime_ns, rate, path.parent.name))
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
            continue
    return max(found)[1:] if found else None


def count_flops(run: RunConfig, codec: CodecSpec) -> float:
    """Of a whole training: 6 per parameter and step of the sequence (Kaplan et al., arXiv 2001.08361, section 2.1)."""
    steps = round(run.training.segment_sec * codec.frame_rate_hz) + codec.num_codebooks
    return 6.0 * count_parameters(run, codec) * run.training.steps * run.training.batch_size * steps
