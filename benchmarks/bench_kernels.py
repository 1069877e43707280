"""The resampling filter on every instruction set, against julius, in the same run, one thread:
`python benchmarks/bench_kernels.py`. Then the other kernels, each in C++ or Rust, by rust_loader/examples/kernels.rs.

Claims: 10 s of 44.1 kHz mono become 32 kHz in a fraction of julius' time, and of the scalar loop's (which rustc turns
into SSE2 as well); `hq` costs two to three times `julius24`.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import julius
import numpy as np
import record
import torch

from musicgen_core import native

FROM_HZ, TO_HZ, SECONDS = 44_100, 32_000, 10


def best_ms(call: Callable[[], object], rounds: int) -> float:
    """Shortest time of a call: what else the machine does only adds to it."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return 1e3 * min(times)


def bench_resample(rounds: int) -> dict[str, float]:
    """How many times faster than julius each preset is on each instruction set."""
    wav_CN = np.random.default_rng(0).standard_normal((1, FROM_HZ * SECONDS)).astype(np.float32)
    tensor_CN = torch.from_numpy(wav_CN)
    peer = julius.ResampleFrac(FROM_HZ, TO_HZ)
    peer_ms = best_ms(lambda: peer(tensor_CN), rounds)
    print(f"{SECONDS} s mono, {FROM_HZ} -> {TO_HZ} Hz: best ms, times faster than julius, than the scalar loop")
    print(f"  julius                 {peer_ms:8.2f}")
    best, ratios = native.kernel_targets()[-1], {}
    for preset in ("julius24", "hq"):
        scalar_ms = 0.0
        for target in native.kernel_targets():
            native.use_kernel_target(target)
            own_ms = best_ms(lambda preset=preset: native.resample(wav_CN, FROM_HZ, TO_HZ, preset), rounds)
            scalar_ms = scalar_ms or own_ms
            ratios[f"{preset} {target}"] = peer_ms / own_ms
            print(f"  {preset:10} {target:10} {own_ms:9.2f} {peer_ms / own_ms:7.1f}x {scalar_ms / own_ms:7.1f}x")
    native.use_kernel_target(best)
    return ratios


def bench_all() -> None:
    folder = Path(__file__).parents[1] / "rust_loader"
    command = ["cargo", "run", "--locked", "--quiet", "--example", "kernels", "time"]
    print("each kernel on 2 s of 44.1 kHz, best of 20")
    print(subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    record.add_flag(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ratios = bench_resample(arguments.rounds)
    bench_all()
    record.write(arguments, "kernels", {"julius_over_ours": ratios, "rounds": arguments.rounds})


if __name__ == "__main__":
    main()
