"""Training on a GPU: `python benchmarks/bench_gpu.py --record benchmarks/records`, one command.

For small and medium, 30 s, bf16, compiled layers, AdamW: utilisation (MFU), frames/s and peak memory of our step, and
of transformers' MusicGen at equal weights, plain and compiled, in the same run. Goal: at least 50 % MFU. Before that,
numbers:
the loss on the GPU in float32 against that on the CPU, against transformers', and in bf16. The record holds the kernels
of a step by their time, which says where the rest goes.

MFU is that of a run's log: the arithmetic of the forward and backward pass (lm/flops.py; a causal kernel's half of the
self-attention) over the time of a whole step, the optimizer's too, and over the GPU's dense bf16 peak, which is looked
up by its name in NVIDIA's data sheets (train/meter.py; `--peak-tflops` for others).

`--dry` runs the same code at a tiny size on the CPU: what it prints means nothing but that the script runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import record
import torch
from bench_train import Ours, Theirs, random_codes

from musicgen_core.config.model import ModelConfig
from musicgen_core.config.training import TrainingConfig
from musicgen_core.lm.flops import count_flops
from musicgen_core.train.meter import find_peak

BATCH = {"small": 16, "medium": 8, "dry": 2}
MODELS = {"small": ModelConfig(size="small"), "medium": ModelConfig(size="medium"), "dry": ModelConfig(size="tiny")}
LOSS_TOLERANCE = {"gpu_against_cpu": 1e-3, "against_transformers": 1e-4, "bf16_against_float32": 2e-2}


class Step:
    """Forward and backward pass, and AdamW's update, of ours or theirs."""

    def __init__(self, side: Ours | Theirs, fused: bool) -> None:
        self.side = side
        self.optimizer = torch.optim.AdamW(side.model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=fused)

    def __call__(self) -> torch.Tensor:
        loss = self.side.step()
        self.optimizer.step()
        return loss


def make(kind: str, size: str, codes_BKT: torch.Tensor, compiled: bool) -> Step:
    training = TrainingConfig(precision="bf16", compile=compiled and kind == "ours")
    ours = Ours(MODELS[size], codes_BKT, training)
    side: Ours | Theirs = ours
    if kind != "ours":
        side = Theirs(ours)
        if kind == "transformers_compiled":
            side.model = torch.compile(side.model)
    return Step(side, fused=codes_BKT.device.type == "cuda")


def measure(
    kind: str, size: str, codes_BKT: torch.Tensor, compiled: bool, steps: int, peak_tflops: float | None
) -> dict[str, Any]:
    device = codes_BKT.device
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    step = make(kind, size, codes_BKT, compiled)
    times = []
    for number in range(3 + steps):
        wait()
        started = time.perf_counter()
        step()
        wait()
        if number >= 3:  # the first ones compile, and find their memory
            times.append(time.perf_counter() - started)
    took_sec = statistics.median(times)
    batch, _, num_frames = codes_BKT.shape
    ours = step.side if isinstance(step.side, Ours) else step.side.ours
    num_steps = ours.sequence_BKS.shape[2]
    flops = count_flops(ours.model, batch, num_steps, ours.prepared["description"].ids_BL.shape[1])
    return {
        "kind": kind,
        "step_sec": round(took_sec, 5),
        "frames_per_sec": round(batch * num_frames / took_sec, 1),
        "tflops": round(flops.training / took_sec / 1e12, 3),
        "mfu": round(flops.training / took_sec / 1e12 / peak_tflops, 4) if peak_tflops else None,
        "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 2**30, 2) if device.type == "cuda" else None,
    }


def kernels(size: str, codes_BKT: torch.Tensor, compiled: bool) -> list[dict[str, Any]]:
    """The kernels of one of our steps by their own time, the longest first."""
    step = make("ours", size, codes_BKT, compiled)
    for _ in range(3):
        step()
    on_gpu = codes_BKT.device.type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CPU]
    if on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        step()
        if on_gpu:
            torch.cuda.synchronize()
    name = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    events = sorted(profiler.key_averages(), key=lambda event: -getattr(event, name))
    total = sum(getattr(event, name) for event in events)
    return [
        {
            "kernel": event.key[:80],
            "calls": event.count,
            "ms": round(getattr(event, name) / 1e3, 3),
            "share": round(getattr(event, name) / total, 4),
        }
        for event in events[:25]
    ]


@torch.no_grad()
def losses(size: str, num_frames: int, device: torch.device) -> dict[str, float]:
    """Differences of one loss: float32 here and on the CPU, ours and transformers', float32 and bf16."""
    codes_BKT = random_codes(2, num_frames)
    exact = {}
    with torch.enable_grad():
        for where in (torch.device("cpu"), device):
            ours = Ours(MODELS[size], codes_BKT.to(where))
            exact[where.type] = float(ours.step())
            theirs = float(Theirs(ours).step())
        rough = float(Ours(MODELS[size], codes_BKT.to(device), TrainingConfig(precision="bf16")).step())
    return {
        "gpu_against_cpu": abs(exact[device.type] - exact["cpu"]),
        "against_transformers": abs(exact[device.type] - theirs),
        "bf16_against_float32": abs(rough - exact[device.type]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["small", "medium"], choices=["small", "medium"])
    parser.add_argument("--batch", type=int, help="segments; default: 16 of small, 8 of medium")
    parser.add_argument("--frames", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2, help="turns of each, in turns; the median counts")
    parser.add_argument("--peak-tflops", type=float, help="of the GPU, dense bf16")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--dry", action="store_true", help="a tiny size on the CPU, to see that the script runs")
    record.add_flag(parser)
    options = parser.parse_args()
    if options.dry:
        options.sizes, options.frames, options.steps, options.rounds = ["dry"], 40, 2, 1
    elif not torch.cuda.is_available():
        raise SystemExit("bench_gpu: torch sees no GPU; --dry runs the script at a tiny size on the CPU")
    device = torch.device("cpu" if options.dry else "cuda")
    name = "none (dry run)" if options.dry else torch.cuda.get_device_name()
    known = find_peak(name, "bf16")
    peak = options.peak_tflops or (known / 1e12 if known else None)
    if peak is None and not options.dry:
        raise SystemExit(f"bench_gpu: the peak of {name} is not known; give --peak-tflops (dense bf16)")
    compiled = not options.no_compile
    kinds = ["ours", "transformers"] + (["transformers_compiled"] if compiled else [])
    figures: dict[str, Any] = {"gpu": name, "peak_tflops": peak, "compiled": compiled, "frames": options.frames}
    figures["loss_differences"] = losses(options.sizes[0], 100, device)
    print(json.dumps(figures), flush=True)
    for what, difference in figures["loss_differences"].items():
        if not difference <= LOSS_TOLERANCE[what]:
            raise SystemExit(f"bench_gpu: losses differ, {what}: {difference:.2g} > {LOSS_TOLERANCE[what]:g}")
    for size in options.sizes:
        codes_BKT = random_codes(options.batch or BATCH[size], options.frames).to(device)
        turns: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
        for _ in range(options.rounds):
            for kind in kinds:
                turns[kind].append(measure(kind, size, codes_BKT, compiled, options.steps, peak))
        rows = [sorted(found, key=lambda row: row["step_sec"])[len(found) // 2] for found in turns.values()]
        ratios = {row["kind"]: round(row["step_sec"] / rows[0]["step_sec"], 3) for row in rows}
        figures[size] = {
            "batch": len(codes_BKT),
            "rows": rows,
            "time_over_ours": ratios,
            "kernels": kernels(size, codes_BKT, compiled),
        }
        print(json.dumps({size: figures[size]}, indent=1), flush=True)
    record.write(options, "gpu-dry" if options.dry else "gpu", figures)


if __name__ == "__main__":
    main()
