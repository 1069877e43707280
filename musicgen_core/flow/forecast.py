<<<<<<< HEAD
"""What runs would cost, from sizes in the config and from what earlier jobs took: bytes, seconds, GPU memory.

Memory counts what training holds, byte by byte where that is known (weights, gradients, the optimizer's moments and the
average, all fp32), and activations by Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models
(arXiv 2205.05198), equation 2 without its attention matrix, which scaled-dot-product attention does not keep.
"""
=======
"""What runs would cost, from sizes in the config and from what earlier jobs took: bytes and seconds."""
>>>>>>> wt-preflight

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

<<<<<<< HEAD
T5_WIDTH, T5_PARAMETERS = 768, 110_000_000
"""T5-base's encoder: width, and parameters (arXiv 1910.10683, 220 M with the decoder)."""


MOMENTS = {"adamw": 8, "lion": 4, "dadapt_adam": 12, "muon": 8}
"""Bytes of an optimizer's state per weight (docs/training.md); of Muon's matrices half of that."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU that trains a run alone."""

    num_parameters: int
    state: int
    """Weights, gradients, moments, average."""

    activations: int
    logits: int

    @property
    def total(self) -> int:
        return self.state + self.activations + self.logits


def count_parameters(run: RunConfig, codec: CodecSpec) -> int:
    """Trained parameters of the language model and its conditioner, exactly."""
    dim, _, layers = run.model.shape
    each = 4 * dim * dim + 4 * dim * dim + 8 * dim * dim + 6 * dim  # self, cross, feed-forward; three LayerNorms
    embeddings = codec.num_codebooks * (codec.card + 1) * dim
    heads = codec.num_codebooks * codec.card * dim
    if isinstance(run.conditioner, LutConditionerConfig):
        width, table = run.conditioner.dim, run.conditioner.num_bins * run.conditioner.dim
    else:
        width, table = T5_WIDTH, 0
    return layers * each + embeddings + heads + 2 * dim + table + width * dim + dim


def estimate_memory(run: RunConfig, codec: CodecSpec, num_processes: int = 1) -> Memory:
    """Peak bytes on each of `num_processes` GPUs; with several, state is sharded over them (training.sharding full)."""
    t = run.training
    dim, _, layers = run.model.shape
    num_parameters = count_parameters(run, codec)
    frozen = 0 if isinstance(run.conditioner, LutConditionerConfig) else 4 * T5_PARAMETERS
    shards = num_processes if t.sharding == "full" else 1
    half = 1 if t.precision == "fp32" else 2  # equation 2 counts 2-byte activations
    state = (
        (4 + 4 + MOMENTS[t.optimizer.kind] + 4) * num_parameters // shards
        + frozen
        + (2 * num_parameters if half == 2 else 0)
    )
    micro = t.micro_batch_size or max(1, t.batch_size // num_processes)
    steps = round(t.segment_sec * codec.frame_rate_hz) + codec.num_codebooks
    per_layer = (34 + 11) * 2 // half * micro * steps * dim  # 34sbh of equation 2, and 11sbh for cross-attention
    activations = (layers * 2 * 2 // half * micro * steps * dim + per_layer) if t.activation_checkpointing else 0
    activations = activations or layers * per_layer
    logits = 3 * 4 * micro * codec.num_codebooks * steps * codec.card  # logits, their logarithms and gradients, fp32
    return Memory(num_parameters, state, activations, logits)

=======
>>>>>>> wt-preflight

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
