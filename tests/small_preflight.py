"""A corpus of three kinds of sound with true captions, taken through the data stages as functions; and its faults."""

import io
import tarfile
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from token_corpus import write_shard

from musicgen_core import native
from musicgen_core.config.load import parse_config
from musicgen_core.config.root import RootConfig
from musicgen_core.data.shard_read import read_members
from musicgen_core.data.splits import SPLITS
from musicgen_core.data.tracks import write_track_list
from musicgen_core.flow.resolve import resolve
from musicgen_core.stages import index, manifest, resample, tokenize
from musicgen_core.util.atomic import read_jsonl, write_jsonl

FILE_HZ = 32_000
KINDS = {"hiss": "a soft wind of noise", "drone": "a deep warm drone", "bells": "bright high bells ringing"}


def make_sound(kind: str, number: int, duration_sec: float) -> np.ndarray:
    """wav_N at FILE_HZ; tuned to A = 440 Hz."""
    random = np.random.default_rng(number)
    times_sec = np.arange(round(duration_sec * FILE_HZ)) / FILE_HZ
    if kind == "hiss":
        return 0.1 * random.normal(size=len(times_sec))
    low = 110.0 if kind == "drone" else 1760.0
    wav_N = np.zeros(len(times_sec))
    for beat in np.arange(0, duration_sec, 0.5):
        pitch_hz = low * 2 ** (random.integers(0, 12) / 12)
        after_sec = np.clip(times_sec - beat, 0, None)
        wav_N += (times_sec >= beat) * np.exp(-4 * after_sec) * np.sin(2 * np.pi * pitch_hz * after_sec)
    return 0.3 * wav_N


@dataclass
class SmallProject:
    """Music, config and results in one folder."""

    home: Path
    config: dict[str, Any]

    @property
    def root(self) -> RootConfig:
        corpora = {"mine": {**self.config["corpora"]["mine"], "path": str(self.music)}}
        return parse_config({**self.config, "corpora": corpora, "results": str(self.home / "results")})

    @property
    def music(self) -> Path:
        return self.home / "music"

    @property
    def manifest(self) -> Path:
        return self.home / "results/manifest/mine"

    @property
    def shard(self) -> Path:
        return next(self.home.glob("results/tokens/*/mine/0*.tar"))

    @property
    def audio(self) -> Path:
        return next(self.home.glob("results/audio/mine/0*.tar"))

    @property
    def paths(self) -> dict[str, str]:
        """Track -> path."""
        return {line["track"]: line["path"] for split in SPLITS for line in self.read(split)}

    def prepare(self) -> None:
        """What `snakemake tokens` does."""
        with chdir(self.home):
            flow = resolve(self.root)
        ((bucket, digest),) = flow.plan.corpora["mine"].buckets.items()
        plan, audio = Path(flow.plan_dir), self.home / "results/audio/mine"
        resample.run(
            flow.configs()["resample", ""],
            bucket=plan / f"mine/buckets/{bucket}.txt",
            digest=digest,
            where=plan / "where.json",
            locations=plan / f"mine/locations/{bucket}.json",
            out_tar=audio / f"{bucket}.tar",
            out_jsonl=audio / f"{bucket}.jsonl",
        )
        manifest.run(
            flow.configs()["manifest", "mine"],
            metadata=plan / "mine/metadata.jsonl",
            digest=flow.plan.corpora["mine"].metadata_digest,
            audio=[audio / f"{bucket}.jsonl"],
            out=self.manifest,
        )
        shard = Path(flow.tokens_dir) / f"mine/{bucket}.tar"
        tokenize.run(
            flow.configs()["tokenize", ""], audio=audio / f"{bucket}.tar", where=plan / "where.json", out=shard
        )
        index.run(flow.configs()["index", ""], shards=[shard], out=shard.with_name("index.bin"))

    def change_codes(self, change: Callable[[str, np.ndarray], np.ndarray]) -> None:
        """Write the shard and its index again: (path, codes_KT) -> codes_KT."""
        codes = {
            (key := name.removesuffix(".codes.npy")): change(self.paths[key], np.load(io.BytesIO(data)))
            for name, data in read_members(self.shard)
            if name.endswith(".npy")
        }
        opened = native.TokenShards(self.shard.with_name("index.bin"))
        digest, card = opened.codec_digest, opened.card
        write_shard(self.shard, {key: np.ascontiguousarray(value) for key, value in codes.items()})
        native.write_token_index(self.shard.with_name("index.bin"), [self.shard], digest, card)

    def change_audio(self, change: Callable[[str, np.ndarray], np.ndarray]) -> None:
        """Write the prepared audio again: (path, wav_CN) -> wav_CN; and its lengths in the manifest."""
        members, lengths = [], {}
        for name, data in read_members(self.audio):
            wav_CN, rate_hz = native.decode(data, name)
            key = name.removesuffix(".flac")
            changed_CN = change(self.paths[key], wav_CN)
            lengths[key] = changed_CN.shape[1]
            buffer = io.BytesIO()
            soundfile.write(buffer, changed_CN.T, rate_hz, format="FLAC", subtype="PCM_24")
            members.append((name, buffer.getvalue()))
        with tarfile.open(self.audio, "w") as tar:
            for name, data in members:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        self.change_manifest(lambda line: {**line, "num_samples": lengths[line["track"]]})

    def change_manifest(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        for split in SPLITS:
            write_jsonl(self.manifest / f"{split}.jsonl", [change(line) for line in self.read(split)])
            write_track_list(self.manifest / f"{split}.jsonl")

    def read(self, split: str) -> list[dict[str, Any]]:
        return read_jsonl(self.manifest / f"{split}.jsonl")


def make_small_project(home: Path, num_tracks: int = 36, duration_sec: float = 2.0) -> SmallProject:
    """WAV of 32 kHz for the shipped codec of 16 kHz; the kinds come in no order."""
    (home / "music").mkdir(parents=True)
    order = np.random.default_rng(7).permutation(num_tracks)
    for number in range(num_tracks):
        kind = list(KINDS)[order[number] % len(KINDS)]
        wav_N = make_sound(kind, number, duration_sec + 0.05 * (number % 5))
        soundfile.write(home / f"music/{number:02d}.wav", wav_N.astype(np.float32), FILE_HZ, subtype="PCM_16")
        (home / f"music/{number:02d}.txt").write_text(f"{KINDS[kind]}, take {number}\n")
    config = {
        "corpora": {"mine": {"path": "music", "captions": ["txt"], "num_buckets": 1}},
        "data": {"min_duration_sec": 0.5},
        "model": {"dim": 64, "num_heads": 2, "num_layers": 2},
        "training": {"steps": 10, "segment_sec": 1.0, "batch_size": 4, "warmup_steps": 2, "learning_rate": 3e-3},
    }
    return SmallProject(home, config)
