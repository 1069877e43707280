"""Forward pass, loss and backward pass against transformers' MusicGen: `python benchmarks/bench_train.py`.

At equal weights, on the same codes and the same states of the words, the same loss (to 1e-4), and no slower on the CPU
in float32 at batch 2 and 8; docs/speed.md says what is reached, and why it cannot be 1.3 times as fast. 33.6 M
parameters: 512 wide, 6 layers, 8 heads, 4 codebooks of 2,048; 500 frames; half of the samples with padded words.

Both run in one process on the same threads, in turns; medians count, in wall-clock time, or in CPU time of the process
(--clock cpu) on a machine that others use. Work that both do: embeddings, projection of the words, cross-attention with
the padding masked, cross-entropy of four codebooks, gradients of every weight. Each has its own way to lay codes out
(we: before the model, in the loader; they: labels in, inputs shifted inside).

`--profile` prints the operations that our step and transformers' spend their time in; `--data` trains a real run on a
made-up corpus and reads from its own history what share of the time it waited for data.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from torch import Tensor
from turns import take_turns

from musicgen_core import native
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.model import LutConditionerConfig, ModelConfig
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.config.training import TrainingConfig
from musicgen_core.data.tracks import write_track_list
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.interchange import decoder_config
from musicgen_core.lm.keymap import to_transformers
from musicgen_core.lm.model import build_model
from musicgen_core.patterns.apply import interleave
from musicgen_core.stages.train import run
from musicgen_core.train.loss import count_valid
from musicgen_core.train.parallel import distribute
from musicgen_core.train.ranks import World
from musicgen_core.train.step import Objective, autocast
from musicgen_core.util.atomic import read_jsonl, write_jsonl

CODEC = CodecSpec(
    name="encodec_32khz",
    digest="0" * 32,
    sample_rate_hz=32_000,
    num_channels=1,
    num_codebooks=4,
    card=2048,
    hop_samples=640,
)
MODEL = ModelConfig(dim=512, num_heads=8, num_layers=6)
CAPTIONS = ["slow rock ballad with piano and a soft voice", "fast techno"]


class Ours:
    """Our step: the loss of the batch, as `train_step` weighs it, and its gradients."""

    def __init__(self, config: ModelConfig, codes_BKT: Tensor, training: TrainingConfig | None = None) -> None:
        device = codes_BKT.device
        training = training or TrainingConfig()
        self.model = build_model(config, LutConditionerConfig(), CODEC)
        initialize(self.model, 0)
        self.objective = Objective(self.model)
        self.world = World(0, 1, device, None)
        distribute(self.objective, self.model.transformer.layers, self.world, training)
        self.training = training
        batch, _, num_frames = codes_BKT.shape
        rows = self.model.prepare((CAPTIONS * batch)[:batch])
        self.prepared = {name: item.to(device) for name, item in rows.items()}
        pattern = self.model.pattern(num_frames)
        self.sequence_BKS, _ = interleave(codes_BKT, pattern, self.model.special, keep_only_valid=True)
        self.codes_BKT = codes_BKT
        self.mask_BT = torch.ones(batch, num_frames, dtype=torch.bool, device=device)
        counts_K = count_valid(pattern, np.full(batch, num_frames))
        self.weights_K = (1 / (counts_K * len(counts_K))).float().to(device)

    def step(self) -> Tensor:
        self.model.zero_grad(set_to_none=True)
        with autocast(self.world, self.training):
            losses = self.objective(self.sequence_BKS, self.codes_BKT, self.mask_BT, self.prepared, self.weights_K)
        losses.total.backward()
        return losses.total.detach()


class Theirs:
    """MusicgenForCausalLM on labels, which is what MusicgenForConditionalGeneration calls on the encoder's states. The
    conditioner of `ours` stands in for the encoder and its projection, so that both start from the same states."""

    def __init__(self, ours: Ours) -> None:
        from transformers import MusicgenForCausalLM

        model = ours.model
        self.ours, self.conditioner = ours, model.conditioner
        self.model = MusicgenForCausalLM(decoder_config(model, melody=False)).train()
        self.model.load_state_dict(to_transformers(model.state_dict()))
        self.model.to(ours.world.device)
        num_frames = ours.codes_BKT.shape[2]
        labels_BKT = torch.full_like(ours.codes_BKT, -100)
        for k in range(CODEC.num_codebooks):
            labels_BKT[:, k, k:] = ours.codes_BKT[:, k, : num_frames - k]
        self.labels_BTK = labels_BKT.transpose(1, 2).contiguous()

    def step(self) -> Tensor:
        self.model.zero_grad(set_to_none=True)
        self.conditioner.zero_grad(set_to_none=True)
        with autocast(self.ours.world, self.ours.training):
            condition = self.conditioner(self.ours.prepared["description"])
            loss = self.model(
                encoder_hidden_states=condition.embeddings_BLD,
                encoder_attention_mask=condition.mask_BL.long(),
                labels=self.labels_BTK,
            ).loss
        loss.backward()
        return loss.detach()


def random_codes(batch: int, num_frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, CODEC.card, (batch, CODEC.num_codebooks, num_frames), generator=generator)


def measure(batch: int, num_frames: int, rounds: int, clock: Callable[[], float]) -> dict[str, Any]:
    ours = Ours(MODEL, random_codes(batch, num_frames))
    theirs = Theirs(ours)
    losses = {"ours": ours.step(), "transformers": theirs.step()}
    steps = {"ours": lambda _: ours.step(), "transformers": lambda _: theirs.step()}
    times = take_turns(steps, rounds, warm_up=0, clock=clock)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "batch": batch,
        "frames": num_frames,
        "parameters": sum(p.numel() for n, p in ours.model.named_parameters() if not n.startswith("condition_")),
        **{f"{name}_sec": round(median, 4) for name, median in medians.items()},
        "ratio": round(medians["transformers"] / medians["ours"], 3),
        "loss_difference": abs(float(losses["ours"] - losses["transformers"])),
        "attention": theirs.model.config._attn_implementation,
    }


def profile(batch: int, num_frames: int) -> str:
    """The operations of our step, then of theirs, by their own CPU time."""
    ours = Ours(MODEL, random_codes(batch, num_frames))
    theirs = Theirs(ours)
    tables = []
    for step in (ours.step, theirs.step):
        step()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            step()
        tables.append(
            profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=14, max_name_column_width=48)
        )
    return "\n".join(tables)


def data_wait(batch: int, num_frames: int, steps: int) -> dict[str, Any]:
    """A real run on made-up songs of three minutes; -> what its own history says of waiting for data."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "songs"
        folder.mkdir()
        lines = []
        with tarfile.open(folder / "shard.tar", "w") as tar:
            for number in range(40):
                codes = io.BytesIO()
                np.save(codes, random.integers(0, CODEC.card, (CODEC.num_codebooks, 9000)).astype(np.uint16))
                key = native.hash_bytes(str(number).encode())
                member = tarfile.TarInfo(f"{key}.codes.npy")
                member.size = len(codes.getvalue())
                tar.addfile(member, io.BytesIO(codes.getvalue()))
                lines.append({"track": key, "num_samples": 9000 * CODEC.hop_samples, "caption": CAPTIONS[0]})
        native.write_token_index(folder / "index.bin", [folder / "shard.tar"], CODEC.digest, CODEC.card)
        for split, part in (("train", lines[:38]), ("valid", lines[38:])):
            write_jsonl(folder / f"{split}.jsonl", part)
            write_track_list(folder / f"{split}.jsonl")
        training = TrainingConfig(
            steps=steps,
            batch_size=batch,
            segment_sec=num_frames / CODEC.frame_rate_hz,
            log_every_steps=1,
            num_valid_segments=batch,
            device="cpu",
        )
        config = TrainStageConfig(
            seed=0, codec=CODEC, model=MODEL, conditioner=LutConditionerConfig(), training=training
        )
        run(config, manifests=[folder], indexes=[folder / "index.bin"], run_dir=Path(temporary) / "run")
        history = read_jsonl(Path(temporary) / "run" / "history.jsonl")
    shares = [line["data_wait_share"] for line in history if line["kind"] == "train"]
    return {
        "batch": batch,
        "steps": steps,
        "data_wait_share_median": round(statistics.median(shares), 6),
        "data_wait_share_most_after_the_first": round(max(shares[1:]), 6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", nargs="+", type=int, default=[2, 8])
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--profile", action="store_true", help="print the kernels of a step, ours and transformers'")
    parser.add_argument("--data", type=int, metavar="STEPS", help="train so many steps and say what waited for data")
    record.add_flag(parser)
    options = parser.parse_args()
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    torch.set_num_threads(options.threads)
    if options.profile:
        print(profile(options.batches[0], options.frames))
        return
    if options.data:
        print(json.dumps(data_wait(options.batches[0], options.frames, options.data)))
        return
    rows = []
    for batch in options.batches:
        rows.append(measure(batch, options.frames, options.rounds, clock))
        print(json.dumps(rows[-1]), flush=True)
    record.write(options, "train", {"threads": options.threads, "clock": options.clock, "rows": rows})


if __name__ == "__main__":
    main()
