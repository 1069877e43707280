"""Resample: decode one bucket to 24-bit FLAC at the codec's rate and channels, in a WebDataset tar."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from musicgen_core.config.root import ResampleStageConfig
from musicgen_core.data.plan import read_where
from musicgen_core.data.prepare import prepare_track
from musicgen_core.data.records import PreparedRecord
from musicgen_core.data.shard_write import open_shard
from musicgen_core.util.atomic import write_jsonl
from musicgen_core.util.digest import digest_lines
from musicgen_core.util.log import progress, say
from musicgen_core.util.memory_file import memory_file


def run(
    config: ResampleStageConfig,
    *,
    bucket: Path,
    digest: str,
    where: Path,
    locations: Path,
    out_tar: Path,
    out_jsonl: Path,
) -> None:
    """Prepare the tracks listed in `bucket`, whose digest the plan gave as `digest`.

    `bucket` lies at CORPUS/buckets/BUCKET.txt, which names the corpus; `where` and `locations` say where its files lie.
    A track that cannot be used is a line in `out_jsonl` with its reason and never stops the bucket; the tar may stay
    empty. Raises ValueError when the list or a file changed since the plan.
    """
    keys = bucket.read_text(encoding="utf-8").split()
    if digest_lines(keys) != digest:
        raise ValueError(
            f"{bucket}: changed since the plan (digest {digest_lines(keys)}, planned {digest}); start snakemake again"
        )
    corpus = bucket.parent.parent.name
    folder = read_where(where).corpora[corpus]
    paths = json.loads(locations.read_text(encoding="utf-8"))
    records: list[PreparedRecord] = []
    with open_shard(out_tar) as shard:
        for key in progress(keys, f"resample {corpus} {bucket.stem}"):
            samples_CN, record = prepare_track(folder, paths[key], key, config)
            if samples_CN is not None:
                shard.add(f"{key}.flac", encode_flac(samples_CN, config.sample_rate_hz))
            else:
                say(f"resample {corpus} {bucket.stem}: rejected {record.path}: {record.reason}: {record.detail}")
            records.append(record)
    write_jsonl(out_jsonl, [record.to_dict() for record in records])


def encode_flac(samples_CN: np.ndarray, sample_rate_hz: int) -> bytes:
    """Encode int32 samples, 24 bits in their upper part, as FLAC. Lossless."""
    import soundfile

    with memory_file() as file:
        soundfile.write(file.fileno(), samples_CN.T, sample_rate_hz, format="FLAC", subtype="PCM_24", closefd=False)
        file.seek(0)
        return file.read()
