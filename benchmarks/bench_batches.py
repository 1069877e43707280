"""Batches of codes from shards: `python benchmarks/bench_batches.py`, one thread each, in turns, in one process.

Claims: a batch of 32 segments x 4 codebooks x 30 s, cut at random from shards, laid out by the delay pattern, with its
mask, into a buffer that may be pinned, costs at most a twentieth of what `webdataset` with a torch pattern costs; and a
million tracks open in under a second. As a scale: a memcpy of the same bytes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
import webdataset
from turns import take_turns

from musicgen_core import native
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.pattern import DelayPatternConfig
from musicgen_core.data.batches import TokenDataset
from musicgen_core.data.tracks import TrackTable, open_tracks, write_track_list
from musicgen_core.patterns.layout import build_pattern
from musicgen_core.util.atomic import write_jsonl

CODEC = CodecSpec(
    name="encodec_32khz",
    digest="0" * 32,
    sample_rate_hz=32_000,
    num_channels=1,
    num_codebooks=4,
    card=2048,
    hop_samples=640,
)
BATCH_SIZE, SEGMENT_FRAMES = 32, 1500
PATTERN = build_pattern(DelayPatternConfig(delays=(0, 1, 2, 3)), CODEC.num_codebooks, SEGMENT_FRAMES)
NUM_TRACKS, TRACKS_PER_SHARD, TRACK_SEC = 512, 128, 180


def write_corpus(folder: Path) -> list[Path]:
    """Songs of three minutes, as webdataset's own writer stores them; their index and manifest."""
    random = np.random.default_rng(0)
    shards, lines = [], []
    for first in range(0, NUM_TRACKS, TRACKS_PER_SHARD):
        shards.append(folder / f"{first:05d}.tar")
        with webdataset.TarWriter(str(shards[-1])) as writer:
            for number in range(first, first + TRACKS_PER_SHARD):
                num_frames = int(random.integers(TRACK_SEC - 60, TRACK_SEC + 60) * CODEC.frame_rate_hz)
                codes_KT = random.integers(0, CODEC.card, (CODEC.num_codebooks, num_frames)).astype(np.uint16)
                key = native.hash_bytes(str(number).encode())
                writer.write({"__key__": key, "codes.npy": codes_KT})
                caption = "a caption of a usual length, more or less"
                lines.append({"track": key, "num_samples": num_frames * CODEC.hop_samples, "caption": caption})
    write_jsonl(folder / "train.jsonl", lines)
    write_track_list(folder / "train.jsonl")
    native.write_token_index(folder / "index.bin", shards, CODEC.digest, CODEC.card)
    return shards


def by_webdataset(shards: list[Path]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The usual pipeline: read tars through, decode, crop at random, collate; then AudioCraft's way with a pattern."""
    random = np.random.default_rng(1)
    frame_KS = torch.from_numpy(PATTERN.frame_KS(True))
    place_KS = torch.arange(CODEC.num_codebooks)[:, None] * SEGMENT_FRAMES + frame_KS
    index = torch.where(frame_KS >= 0, place_KS, CODEC.num_codebooks * SEGMENT_FRAMES).flatten()
    special_B1 = torch.full((BATCH_SIZE, 1), CODEC.card)

    def crop(sample: dict[str, Any]) -> tuple[torch.Tensor, int]:
        codes_KT = sample["codes.npy"]
        start = int(random.integers(0, max(1, codes_KT.shape[1] - SEGMENT_FRAMES + 1)))
        piece_KT = torch.from_numpy(codes_KT[:, start : start + SEGMENT_FRAMES].astype(np.int64))
        num_valid = piece_KT.shape[1]
        if num_valid < SEGMENT_FRAMES:
            piece_KT = torch.nn.functional.pad(piece_KT, (0, SEGMENT_FRAMES - num_valid), value=CODEC.card)
        return piece_KT, num_valid

    def collate(samples: list[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        pieces, num_valid = zip(*samples, strict=True)
        return torch.stack(pieces), torch.tensor(num_valid)

    names = [str(path) for path in shards]
    dataset = webdataset.WebDataset(names, shardshuffle=len(names), empty_check=False).shuffle(BATCH_SIZE).decode()
    for codes_BKT, num_valid_B in dataset.map(crop).batched(BATCH_SIZE, collation_fn=collate, partial=False).repeat():
        flat = torch.cat([codes_BKT.flatten(1), special_B1], dim=1)
        sequence_BKS = flat[:, index].view(BATCH_SIZE, CODEC.num_codebooks, -1)
        yield sequence_BKS, (frame_KS >= 0) & (frame_KS < num_valid_B[:, None, None])


def make_ours(tracks: TrackTable, dtype: torch.dtype) -> tuple[Callable[[int], object], torch.Tensor]:
    """-> (call that fills batch number n, the buffer it fills)"""
    frame_KS = PATTERN.frame_KS(True)
    sampler = tracks.sampler(seed=0, segment_frames=SEGMENT_FRAMES, min_segment_ratio=0.8, frame_KS=frame_KS)
    out = torch.empty((BATCH_SIZE, CODEC.num_codebooks, sampler.num_steps), dtype=dtype)
    mask = torch.empty(out.shape, dtype=torch.bool)
    return lambda n: sampler.batch(n * BATCH_SIZE, BATCH_SIZE, out.numpy(), mask.numpy()), out


def measure(calls: dict[str, Callable[[int], object]], rounds: int) -> dict[str, float]:
    """Median time of each call in ms; they take turns, after two rounds to warm up."""
    times = take_turns(calls, rounds, warm_up=2)
    return {name: 1e3 * statistics.median(values) for name, values in times.items()}


def bench_batches(rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = by_webdataset(write_corpus(folder))
        tracks = open_tracks([folder], [folder / "index.bin"], "train", CODEC)
        started = time.perf_counter()
        for row in range(NUM_TRACKS):  # the first read of a track compares its codes with their digest
            tracks.shards[0].read(row, 0, 1)
        digests_ms = 1e3 * (time.perf_counter() - started) / NUM_TRACKS
        ours, out = make_ours(tracks, torch.int64)
        ours_small, _ = make_ours(tracks, torch.uint16)
        options = {"batch_size": BATCH_SIZE, "segment_frames": SEGMENT_FRAMES, "min_segment_ratio": 0.8}
        dataset = TokenDataset(tracks, seed=0, **options)
        source, target = torch.ones_like(out).numpy(), torch.empty_like(out).numpy()
        medians = measure(
            {
                "ours": ours,
                "ours, uint16": ours_small,
                "ours, TokenDataset": lambda n: dataset.read(n * BATCH_SIZE),
                "webdataset + torch": lambda _: next(theirs),
                "memcpy": lambda _: np.copyto(target, source),
            },
            rounds,
        )
    print(f"{BATCH_SIZE} x {CODEC.num_codebooks} x {SEGMENT_FRAMES} codes, delay pattern, mask; int64 unless said")
    for name, median_ms in medians.items():
        print(f"  {name:20} {median_ms:9.3f} ms   {median_ms / medians['ours']:7.2f}x ours")
    gb_per_sec = {
        name: out.numel() * out.element_size() / medians[name] / 1e6
        for name in ("ours", "webdataset + torch", "memcpy")
    }
    print("  GB/s of codes:       " + ", ".join(f"{name} {speed:.2f}" for name, speed in gb_per_sec.items()))
    tokens_per_sec = out.numel() / medians["ours"] * 1e3
    print(f"  codes per second:    {tokens_per_sec:,.0f}; besides, once per track, {digests_ms:.3f} ms for its digest")
    ratio = medians["webdataset + torch"] / medians["ours"]
    return {
        "median_ms": medians,
        "gb_per_sec": gb_per_sec,
        "webdataset_over_ours": ratio,
        "digest_ms_per_track": digests_ms,
        "rounds": rounds,
    }


def bench_open(num_tracks: int) -> dict[str, Any]:
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from many_tracks import write_many_tracks
    from token_corpus import SPEC

    with tempfile.TemporaryDirectory() as name:
        folder = write_many_tracks(Path(name) / "many", num_tracks)
        started = time.perf_counter()
        tracks = open_tracks([folder], [folder / "index.bin"], "train", SPEC)
        dataset = TokenDataset(tracks, seed=0, batch_size=32, segment_frames=50, min_segment_ratio=0.8)
        opened = time.perf_counter()
        dataset.read(0)
        first = time.perf_counter()
        tracks.check()
        checked = time.perf_counter()
    figures = {"open_sec": opened - started, "first_batch_sec": first - opened, "check_sec": checked - first}
    print(f"{num_tracks:,} tracks: " + ", ".join(f"{name[:-4]} {sec * 1e3:.1f} ms" for name, sec in figures.items()))
    return {"num_tracks": num_tracks, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--tracks", type=int, default=1_000_000, help="of the index that is opened")
    record.add_flag(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures = {"batch": bench_batches(arguments.rounds), "open": bench_open(arguments.tracks)}
    record.write(arguments, "batches", figures)


if __name__ == "__main__":
    main()
