"""The extension against what it replaces, in the same run, one thread: `python benchmarks/bench_native.py`.

Claims: a random 10 s segment at 44.1 kHz stereo, brought to 32 kHz mono, costs less than by soundfile and julius, the
pair nearest to AudioCraft's; the delay pattern costs less than torch's index gather. Prints medians and ratios.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import julius
import numpy as np
import record
import soundfile
import torch

from musicgen_core import native

RATE_HZ, TARGET_HZ, SEGMENT_SEC, TRACK_SEC = 44_100, 32_000, 10, 120
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
}


def median_ms(call: Callable[[int], object], rounds: int) -> float:
    """Median time of call(i), after one call to warm up."""
    call(0)
    times = []
    for i in range(rounds):
        started = time.perf_counter()
        call(i)
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)


def write_tracks(folder: Path) -> dict[str, Path]:
    """One track of chords and noise in each format."""
    t = np.arange(RATE_HZ * TRACK_SEC) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * f * t) for f in (220.0, 277.2, 329.6)) * np.exp(-4 * (t % 0.5)) * 0.2
    noise = np.random.default_rng(0).standard_normal((len(t), 2)) * 0.02
    wav_NC = (tones[:, None] + noise).astype(np.float32)
    paths = {}
    for name, (container, subtype) in FORMATS.items():
        paths[name] = folder / f"track.{name}"
        with soundfile.SoundFile(paths[name], "w", RATE_HZ, 2, subtype=subtype, format=container) as file:
            for start in range(0, len(t), 4096):  # libsndfile's ogg encoder cannot take long writes
                file.write(wav_NC[start : start + 4096])
    return paths


def bench_segments(rounds: int) -> dict[str, float]:
    starts = np.random.default_rng(1).integers(0, RATE_HZ * (TRACK_SEC - SEGMENT_SEC), rounds)
    count = RATE_HZ * SEGMENT_SEC

    def ours(path: Path, i: int) -> np.ndarray:
        start = int(starts[i]) * TARGET_HZ // RATE_HZ
        return native.read_segment(path, start, TARGET_HZ * SEGMENT_SEC, sample_rate_hz=TARGET_HZ, num_channels=1)

    def theirs(path: Path, i: int) -> torch.Tensor:
        with soundfile.SoundFile(path) as file:
            file.seek(int(starts[i]))
            wav_CN = torch.from_numpy(file.read(count, dtype="float32").T)
        return julius.resample_frac(wav_CN, RATE_HZ, TARGET_HZ).mean(0, keepdim=True)  # AudioCraft's order

    print(f"random {SEGMENT_SEC} s segment, 44.1 kHz stereo -> 32 kHz mono, ms: ours, soundfile + julius, ratio")
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, path in write_tracks(Path(folder)).items():
            own = median_ms(lambda i, path=path: ours(path, i), rounds)
            other = median_ms(lambda i, path=path: theirs(path, i), rounds)
            ratios[name] = other / own
            print(f"  {name:5} {own:8.2f} {other:8.2f} {other / own:6.1f}x")
    return ratios


def bench_interleave(rounds: int) -> float:
    codes_BKT = np.random.default_rng(2).integers(0, 2048, (32, 4, 1500))
    delays, steps = [0, 1, 2, 3], 1501
    codes_u16 = codes_BKT.astype(np.uint16)
    torch_BKT = torch.from_numpy(codes_BKT)
    place = torch.arange(steps)[None] - 1 - torch.tensor(delays)[:, None]
    index_KS = torch.where((place >= 0) & (place < 1500), torch.arange(4)[:, None] * 1500 + place, 4 * 1500)

    def theirs(_: int) -> torch.Tensor:
        flat = torch.cat([torch_BKT.flatten(1), torch.full((32, 1), 2048)], dim=1)
        return flat[:, index_KS.flatten()].view(32, 4, steps)

    step_KT = np.arange(1500)[None] + 1 + np.array(delays)[:, None]
    assert np.array_equal(theirs(0).numpy(), native.interleave(codes_BKT, step_KT, steps, 2048)[0])
    own = median_ms(lambda _: native.interleave(codes_u16, step_KT, steps, 2048), rounds)
    other = median_ms(theirs, rounds)
    print("delay pattern, 32 x 4 x 1500 codes, ms: ours (uint16), torch gather (int64), ratio")
    print(f"        {own:8.3f} {other:8.3f} {other / own:6.1f}x")
    return other / own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    record.add_flag(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    segments, interleave = bench_segments(arguments.rounds), bench_interleave(arguments.rounds)
    figures = {"soundfile_julius_over_ours": segments, "torch_gather_over_interleave": interleave}
    record.write(arguments, "native", {**figures, "rounds": arguments.rounds})


if __name__ == "__main__":
    main()
