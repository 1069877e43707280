"""`musicgen bench-loader`: what this machine and this corpus reach, and what share of a GPU's need that is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicgen_core.config.codec_spec import read_codec_spec
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.load import resolve_runs
from musicgen_core.config.root import RootConfig, RunConfig
from musicgen_core.data.audio_segments import AudioBatch, AudioSegments
from musicgen_core.data.batch_dataset import BatchesAhead
from musicgen_core.data.batches import Batch, TokenDataset, count_segment_frames
from musicgen_core.data.tracks import TrackTable, open_tracks
from musicgen_core.lm.flops import count_flops
from musicgen_core.lm.model import LanguageModel, build_model

_MAX_AUDIO_FILES = 64
_MAX_STEP_SEC = 0.05


@dataclass(frozen=True)
class _Pace:
    num_batches: int
    elapsed_sec: float
    waited_sec: float
    num_bytes: int
    """Of the batches' tensors."""


def run(
    config: RootConfig,
    *,
    run_name: str | None = None,
    seconds: float = 10.0,
    gpu_tflops: float = 989.0,
    mfu: float = 0.5,
) -> None:
    """Time the loaders of one run (default: the first of config.yaml) for about `--seconds`, one thread each.

    The need is what a GPU of `--gpu-tflops` trains at a utilisation of `--mfu`: frames/s = gpu_tflops * 1e12 * mfu /
    (operations of a training step / frames of a batch), conditions at their shortest. 989 is an H100 SXM, bfloat16
    without sparsity (https://www.nvidia.com/en-us/data-center/h100/).

    Tokens are timed in a loop that does nothing else, and read ahead behind steps as long as the GPU's (50 ms at most).
    Audio segments come from up to 64 files spread over the run's training tracks. Bytes are those of the tensors.
    ValueError when the tokens are not there yet.
    """
    if seconds <= 0 or gpu_tflops <= 0 or not 0 < mfu <= 1:
        raise ValueError(f"seconds {seconds:g} and gpu_tflops {gpu_tflops:g} must be above 0, mfu {mfu:g} in (0, 1]")
    chosen = _choose_run(config, run_name)
    codec, _ = read_codec_spec(config.codec)
    tracks = _open_tracks(config, chosen, codec)
    batch_size, segment_frames = chosen.training.batch_size, count_segment_frames(chosen.training.segment_sec, codec)
    model = build_model(chosen.model, chosen.conditioner, codec, device="meta")
    step_sec = _count_step_flops(model, batch_size, segment_frames) / (gpu_tflops * 1e12 * mfu)
    print(
        f"run {chosen.name}: batches of {batch_size} segments of {segment_frames} frames x {codec.num_codebooks} "
        f"codebooks; {tracks.num_tracks} tracks, {tracks.total_sec / 3600:.2f} h"
    )
    print(
        f"need: a GPU of {gpu_tflops:g} TFLOP/s at {mfu:.0%} takes {1 / step_sec:,.1f} batches/s = "
        f"{batch_size * segment_frames / step_sec:,.0f} frames/s"
    )
    _time_tokens(tracks, model, chosen, segment_frames, step_sec, seconds)
    _time_audio(_list_audio(config, tracks), codec, chosen, step_sec, seconds)


def _time_tokens(
    tracks: TrackTable, model: LanguageModel, chosen: RunConfig, segment_frames: int, step_sec: float, seconds: float
) -> None:
    t = chosen.training
    dataset = TokenDataset(
        tracks,
        seed=chosen.seed,
        batch_size=t.batch_size,
        segment_frames=segment_frames,
        min_segment_ratio=t.min_segment_ratio,
        sampling=t.sampling,
        pattern=model.pattern(segment_frames),
    )
    plain = _time(iter(dataset), seconds / 3)
    rate = plain.num_batches / plain.elapsed_sec
    print(
        f"tokens, no read-ahead: {rate:,.1f} batches/s, {rate * t.batch_size * segment_frames:,.0f} frames/s, "
        f"{plain.num_bytes / plain.elapsed_sec / 1e6:,.1f} MB/s, {1e3 / rate:.3f} ms per batch; "
        f"{rate * step_sec:.0%} of the need"
    )
    pause_sec = min(step_sec, _MAX_STEP_SEC)
    with BatchesAhead(dataset) as batches:
        ahead = _time(batches, seconds / 3, pause_sec)
    waited_ms = 1e3 * ahead.waited_sec / ahead.num_batches
    print(f"tokens, read ahead: {waited_ms:.3f} ms of waiting per batch, behind steps of {1e3 * pause_sec:.3f} ms")


def _time_audio(paths: list[Path], codec: CodecSpec, chosen: RunConfig, step_sec: float, seconds: float) -> None:
    t = chosen.training
    segments = AudioSegments(
        paths,
        seed=chosen.seed,
        batch_size=1,
        segment_sec=t.segment_sec,
        sample_rate_hz=codec.sample_rate_hz,
        num_channels=codec.num_channels,
        min_segment_ratio=t.min_segment_ratio,
    )
    audio = _time(iter(segments), seconds / 3)
    rate = audio.num_batches / audio.elapsed_sec
    print(
        f"audio, {len(paths)} files: {rate:,.1f} segments/s of {t.segment_sec:g} s at {codec.sample_rate_hz} Hz, "
        f"{audio.num_bytes / audio.elapsed_sec / 1e6:,.1f} MB/s; {rate * step_sec / t.batch_size:.0%} of the need"
    )


def _choose_run(config: RootConfig, name: str | None) -> RunConfig:
    runs = resolve_runs(config)
    if name is None:
        return next(iter(runs.values()))
    if name not in runs:
        raise ValueError(f"--run-name {name}: there is no such run; config.yaml has {', '.join(runs)}")
    return runs[name]


def _open_tracks(config: RootConfig, chosen: RunConfig, codec: CodecSpec) -> TrackTable:
    results = Path(config.results)
    manifests = [results / "manifest" / corpus for corpus in chosen.corpora]
    indexes = [results / f"tokens/{codec.name}-{codec.digest[:8]}/{corpus}/index.bin" for corpus in chosen.corpora]
    for path in [*indexes, *(folder / "train.jsonl" for folder in manifests)]:
        if not path.is_file():
            raise ValueError(
                f"{path}: absent, so there are no tokens yet; run `snakemake --profile local tokens` first"
            )
    return open_tracks(manifests, indexes, "train", codec)


def _count_step_flops(model: LanguageModel, batch: int, segment_frames: int) -> int:
    """Conditions are taken at their shortest, so that the need is not understated."""
    lengths = {"cross": 0, "prepend": 0}
    for name, conditioner in model.conditioners.items():
        if model.fusions[name] in lengths:
            lengths[model.fusions[name]] += conditioner.null_length
    num_steps = model.pattern(segment_frames).num_valid_steps
    return count_flops(model, batch, num_steps, lengths["cross"], lengths["prepend"]).training


def _list_audio(config: RootConfig, tracks: TrackTable) -> list[Path]:
    """Files of the training tracks, evenly spread."""
    files = []
    for corpus, table in zip(tracks.corpora, tracks.lists, strict=True):
        count = min(len(table), max(1, _MAX_AUDIO_FILES // len(tracks.lists)))
        for number in np.linspace(0, len(table) - 1, count).astype(int):
            files.append(Path(config.corpora[corpus].path) / json.loads(table.line(int(number)))["path"])
    return files


def _time(batches: Iterator[Batch] | Iterator[AudioBatch], seconds: float, pause_sec: float = 0.0) -> _Pace:
    """Take batches for some time, at least one, after a first one that is not timed."""
    next(batches)
    num_batches, waited_sec, num_bytes = 0, 0.0, 0
    started = now = time.perf_counter()
    while not num_batches or now - started < seconds:
        batch = next(batches)
        waited_sec += time.perf_counter() - now
        num_batches += 1
        num_bytes += sum(_sizes(vars(batch).values()))
        if pause_sec:
            time.sleep(pause_sec)
        now = time.perf_counter()
    return _Pace(num_batches, now - started, waited_sec, num_bytes)


def _sizes(values: Iterable[Any]) -> Iterator[int]:
    return (value.nbytes for value in values if isinstance(value, torch.Tensor))
