"""What there is to check of a run: its tracks, their files, prepared audio and codes, and the codec.

Legend: C channels, N samples, K codebooks, T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from musicgen_core import native
from musicgen_core.codec.base import Codec
from musicgen_core.codec.load import load_codec
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.root import ResampleStageConfig, RootConfig, RunConfig, project_resample
from musicgen_core.data.manifest import ManifestRecord, read_manifest
from musicgen_core.data.plan import read_where
from musicgen_core.data.tracks import check_codec
from musicgen_core.eval.heldout import Segment, find_track, read_audio
from musicgen_core.flow.lineage import PlannedRun
from musicgen_core.flow.resolve import Flow, read_flow

MAX_TRACKS = 2000
"""Tracks whose words and codes are looked at; of a larger corpus a fair draw."""

EXCERPT_SEC = 20.0
"""Of a track that is listened to or encoded again."""


@dataclass(frozen=True)
class Material:
    """A run after `snakemake tokens`. Reading it changes nothing."""

    root: RootConfig
    run: RunConfig
    planned: PlannedRun
    runs_dir: Path
    codec: Codec
    folders: dict[str, Path]
    """Corpus -> its music."""

    audio_dir: Path
    manifests: tuple[Path, ...]
    indexes: tuple[Path, ...]
    shards: dict[str, native.TokenShards]
    num_tracks: int
    """Of the train split, in all."""

    train: list[ManifestRecord]
    """At most MAX_TRACKS, in an order that follows from (seed, track): any first few are a fair draw."""

    held_out: list[ManifestRecord]
    """Of the valid and evaluate splits; as `train`."""

    @property
    def spec(self) -> CodecSpec:
        return self.codec.spec

    @property
    def resample(self) -> ResampleStageConfig:
        return project_resample(self.root, self.spec)

    def read_codes(self, record: ManifestRecord, num_frames: int | None = None) -> np.ndarray:
        """codes_KT uint16 from the start of a track."""
        return self.shards[record.corpus].read(find_track(record, self.shards), 0, num_frames)

    def count_frames(self, records: Sequence[ManifestRecord]) -> np.ndarray:
        """Frames of codes that are stored of each track, int64."""
        frames = {corpus: opened.num_frames for corpus, opened in self.shards.items()}
        counts = [frames[record.corpus][find_track(record, self.shards)] for record in records]
        return np.array(counts, dtype=np.int64)

    def read_prepared(self, records: Sequence[ManifestRecord], seconds: float | None = EXCERPT_SEC) -> list[np.ndarray]:
        """wav_CN float32 at the codec's rate: the start of each track; None: all of it."""
        limit = 2**40 if seconds is None else round(seconds * self.spec.frame_rate_hz)
        segments = [Segment(record=record, start_frame=0, num_frames=limit) for record in records]
        places = dict.fromkeys((record.corpus, record.bucket) for record in records)
        tars = [self.audio_dir / corpus / f"{bucket}.tar" for corpus, bucket in places]
        if absent := [path for path in tars if not path.is_file()]:
            raise ValueError(f"{absent[0]}: absent; run `snakemake --profile local tokens` first")
        return read_audio(segments, tars, self.spec.hop_samples)


def open_material(root: RootConfig, name: str | None, device: str) -> Material:
    """Open the run `name`, or the first of config.yaml. ValueError when there is none, or when its tokens are not
    there."""
    results = Path(root.results)
    if not (results / "plan/runs.json").is_file():
        raise ValueError(f"{results}/plan: absent or without runs; run `snakemake --profile local tokens` first")
    flow = read_flow(root)
    run, planned = _choose(flow, name)
    manifests = tuple(results / "manifest" / corpus for corpus in run.corpora)
    indexes = tuple(Path(flow.tokens_dir) / corpus / "index.bin" for corpus in run.corpora)
    for path in [*indexes, *(folder / "train.jsonl" for folder in manifests)]:
        if not path.is_file():
            raise ValueError(f"{path}: absent, so there are no tokens yet; run `snakemake --profile local tokens`")
    where = read_where(Path(flow.plan_dir) / "where.json")
    shards = {path.parent.name: native.TokenShards(path) for path in indexes}
    for path in indexes:
        check_codec(shards[path.parent.name], flow.codec, path)
    num_tracks, train = _read(manifests, ("train",), run.seed)
    if not train:
        raise ValueError(f"{manifests[0]}/train.jsonl: 0 tracks; add music (config/README.md, Splits)")
    return Material(
        root=root,
        run=run,
        planned=planned,
        runs_dir=Path(flow.runs_dir),
        codec=load_codec(where.codec, device, flow.codec.num_channels),
        folders=where.corpora,
        audio_dir=results / "audio",
        manifests=manifests,
        indexes=indexes,
        shards=shards,
        num_tracks=num_tracks,
        train=train,
        held_out=_read(manifests, ("valid", "evaluate"), run.seed)[1],
    )


def _choose(flow: Flow, name: str | None) -> tuple[RunConfig, PlannedRun]:
    for folder in flow.targets:
        if name is None or flow.runs[folder].name == name:
            return flow.runs[folder], flow.planned[folder]
    names = ", ".join(flow.runs[folder].name for folder in flow.targets)
    raise ValueError(f"--run {name}: there is no such run; config.yaml has {names}")


def _read(manifests: Sequence[Path], splits: Sequence[str], seed: int) -> tuple[int, list[ManifestRecord]]:
    """(number of tracks, a fair draw of them)."""
    records = [
        record
        for folder in manifests
        for split in splits
        if (folder / f"{split}.jsonl").is_file()
        for record in read_manifest(folder / f"{split}.jsonl")
    ]
    return len(records), sorted(records, key=lambda r: native.hash_bytes(f"{seed}:{r.track}".encode()))[:MAX_TRACKS]
