"""Guided generation with a key/value cache against transformers' `generate`: `python benchmarks/bench_generate.py`.

Claim: at equal weights, identical greedy codes, and faster than transformers on the CPU at every size. The gain is the
largest where calls are what takes the time (tiny). From `base` on, a step of one sample is little more than reading
every weight once: `memory_share` is that part of our time, and in float32 no program can be faster than by 1 over it.

Both run in one process on the same weights, captions already encoded, float32, same threads, in turns; the best of the
rounds counts, in wall-clock time, or in CPU time of the process (--clock cpu) on a machine that others use. A guided
step is one forward pass of twice the batch in both.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import record
import torch
from turns import take_turns

from musicgen_core.conditioners.base import Condition
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.model import LutConditionerConfig, ModelConfig
from musicgen_core.lm.generate import generate
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.interchange import save_transformers
from musicgen_core.lm.model import LanguageModel, build_model

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"size": "tiny"},
    "base": {"dim": 512, "num_heads": 8, "num_layers": 8},
    "small": {"size": "small"},
}


def make_model(size: str) -> LanguageModel:
    codec = CodecSpec(
        name="encodec_32khz",
        digest="0" * 32,
        sample_rate_hz=32_000,
        num_channels=1,
        num_codebooks=4,
        card=2048,
        hop_samples=640,
    )
    model = build_model(ModelConfig(**SIZES[size]), LutConditionerConfig(), codec)
    initialize(model, 0)
    return model.eval()


def make_transformers(model: LanguageModel, folder: Path) -> Any:
    from transformers import MusicgenForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    save_transformers(folder, model)
    return MusicgenForCausalLM.from_pretrained(folder).eval()


def run_transformers(theirs: Any, condition: Condition, batch: int, num_frames: int, cfg_coef: float) -> torch.Tensor:
    from transformers import DynamicCache, EncoderDecoderCache

    return theirs.generate(
        inputs=torch.full((batch * 4, 1), 2048),
        attention_mask=torch.ones(batch, 1, dtype=torch.long),
        encoder_hidden_states=condition.embeddings_BLD,
        encoder_attention_mask=condition.mask_BL.long(),
        past_key_values=EncoderDecoderCache(DynamicCache(), DynamicCache()),
        guidance_scale=cfg_coef,
        do_sample=False,
        max_length=num_frames + 4,
        num_return_sequences=1,
    )


@torch.no_grad()
def read_time(model: LanguageModel, clock: Callable[[], float]) -> float:
    """Seconds to read once every weight that a step needs: the least that a step of any program takes."""
    weights = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and not name.startswith("emb.")]
    best = float("inf")
    for _ in range(5):
        started = clock()
        for weight in weights:
            torch.mv(weight, weight[0])
        best = min(best, clock() - started)
    return best


def measure(
    size: str, batch: int, num_frames: int, rounds: int, folder: Path, clock: Callable[[], float]
) -> dict[str, Any]:
    model = make_model(size)
    theirs = make_transformers(model, folder / size)
    captions = ["slow rock ballad with piano", "fast techno"] * batch
    captions = captions[:batch]
    config = GenerationConfig(temperature=0, cfg_coef=3.0)
    with torch.no_grad():
        condition = model.conditioner(model.conditioner.prepare([*captions, *[None] * batch]))
    codes = {}

    def ours(_: int) -> None:
        codes["ours"] = generate(model, captions, num_frames, config)

    def transformers(_: int) -> None:
        codes["transformers"] = run_transformers(theirs, condition, batch, num_frames, 3.0)

    times = take_turns({"ours": ours, "transformers": transformers}, rounds, warm_up=0, clock=clock)
    best = {name: min(values) for name, values in times.items()}
    agreement = float((codes["ours"] == codes["transformers"]).float().mean())
    return {
        "size": size,
        "batch": batch,
        "frames": num_frames,
        **{f"{name}_frames_per_sec": round(batch * num_frames / took, 1) for name, took in best.items()},
        "ratio": round(best["transformers"] / best["ours"], 2),
        "equal_codes": agreement,
        "memory_share": round(read_time(model, clock) * (num_frames + 3) / best["ours"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["tiny", "base", "small"], choices=SIZES)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--folder", type=Path, help="where transformers' copies of the weights go; default: a temporary one"
    )
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    record.add_flag(parser)
    options = parser.parse_args()
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    torch.set_num_threads(options.threads)
    import transformers

    transformers.logging.set_verbosity_error()
    facts = {
        "machine": platform.processor() or platform.machine(),
        "threads": options.threads,
        "clock": options.clock,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    rows = []
    for size in options.sizes:
        for batch in options.batches:
            with tempfile.TemporaryDirectory() as temporary:
                folder = options.folder or Path(temporary)
                rows.append(measure(size, batch, options.frames, options.rounds, folder, clock))
            print(json.dumps(rows[-1]), flush=True)
    record.write(options, "generate", {**facts, "rows": rows})


if __name__ == "__main__":
    main()
