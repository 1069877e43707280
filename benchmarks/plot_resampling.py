"""Draws docs/resampling.svg: what each resampler does to a tone of every frequency, 44.1 -> 32 kHz.

    python benchmarks/plot_resampling.py

Also prints the table of docs/resampling.md. soxr is drawn where it is installed (`pip install soxr`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("svg")
import matplotlib.pyplot as plt
import torch
import torchaudio

from musicgen_core import native

FROM_HZ, TO_HZ = 44_100, 32_000
EDGE_HZ = TO_HZ / 2
SECONDS = 1.0
Resampler = Callable[[np.ndarray], np.ndarray]


def resamplers() -> dict[str, Resampler]:
    """Each takes and gives float32 [N]."""
    found: dict[str, Resampler] = {
        "julius24 (AudioCraft)": lambda x: native.resample(x[None], FROM_HZ, TO_HZ)[0],
        "hq": lambda x: native.resample(x[None], FROM_HZ, TO_HZ, "hq")[0],
        "torchaudio default": lambda x: torchaudio.functional.resample(torch.from_numpy(x), FROM_HZ, TO_HZ).numpy(),
    }
    if importlib.util.find_spec("soxr") is not None:
        import soxr

        found["soxr HQ"] = lambda x: soxr.resample(x, FROM_HZ, TO_HZ, quality="HQ")
    return found


def level_db(resample: Resampler, frequency_hz: float) -> float:
    """Level of all that comes out for a tone of 0 dB: its loss in the band, its alias above it. The ends, where the
    resamplers differ in what they take to lie beyond, are left away."""
    tone = np.sin(2 * np.pi * frequency_hz / FROM_HZ * np.arange(int(SECONDS * FROM_HZ))).astype(np.float32)
    found = resample(tone).astype(np.float64)
    middle = found[len(found) // 8 : -len(found) // 8]
    return 10 * np.log10(2 * np.mean(middle**2) + 1e-30)


def main() -> None:
    plt.rcParams["svg.hashsalt"] = "resampling"  # the same file at every run
    loss_hz = np.linspace(11_000, EDGE_HZ, 81)[:-1]
    alias_hz = np.linspace(EDGE_HZ, 22_000, 181)[1:]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    shown_hz = [13_000, 14_000, 0.94 * EDGE_HZ, 15_500, 16_200, 16_500, 17_000, 18_000, 20_000]
    print("| resampler | " + " | ".join(f"{hz / 1000:.4g} kHz" for hz in shown_hz) + " |")
    print("|" + "---|" * (len(shown_hz) + 1))
    for name, resample in resamplers().items():
        left.plot(loss_hz / 1000, [level_db(resample, hz) for hz in loss_hz], label=name)
        right.plot(alias_hz / 1000, [level_db(resample, hz) for hz in alias_hz], label=name)
        print(f"| {name} | " + " | ".join(f"{level_db(resample, hz) + 0.0:.2f}" for hz in shown_hz) + " |")
    left.set(title="loss in the band", xlabel="tone, kHz", ylabel="level after resampling, dB", ylim=(-10, 0.5))
    left.axvline(0.94 * EDGE_HZ / 1000, color="0.8", zorder=0)
    right.set(title="aliases of what lies above it", xlabel="tone, kHz", ylim=(-150, 0))
    right.axhline(-100, color="0.8", zorder=0)
    left.legend(loc="lower left")
    path = Path(__file__).parents[1] / "docs/resampling.svg"
    figure.savefig(path, metadata={"Date": None})
    print(path)


if __name__ == "__main__":
    main()
