"""Prepared audio beside a corpus of made-up codes: melodies that can be told apart, in a tar as resample writes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from token_corpus import SPEC, make_record, write_shard

from musicgen_core import native
from musicgen_core.data.shard_write import open_shard
from musicgen_core.data.tracks import write_track_list
from musicgen_core.stages.resample import encode_flac
from musicgen_core.util.atomic import write_jsonl

RATE_HZ = 16000
NOTE_SEC = 0.25
LEAD_SAMPLES = 256
"""How much earlier than its frame a short note sounds, for a step hears the window around its frame's beginning."""


def write_audio(root: Path, manifest: Path, rate_hz: int = RATE_HZ) -> Path:
    """Write the tar of the one bucket of a corpus, for the tracks of all its manifests -> its path."""
    lines = [json.loads(line) for path in sorted(manifest.glob("*.jsonl")) for line in path.read_text().splitlines()]
    path = root / "audio" / manifest.name / f"{lines[0]['bucket']}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_shard(path) as shard:
        for line in sorted(lines, key=lambda line: line["track"]):
            wav_N = play(notes_of(line["track"], line["num_samples"]), line["num_samples"], rate_hz)
            samples_N = np.round(wav_N * 2**23).astype(np.int32) << 8
            shard.add(f"{line['track']}.flac", encode_flac(samples_N[None], rate_hz))
    return path


def notes_of(key: str, num_samples: int) -> np.ndarray:
    """Pitch classes of a track's notes, a function of its key."""
    return np.random.default_rng(int(key[:12], 16)).integers(0, 12, num_samples // round(NOTE_SEC * RATE_HZ) + 1)


def play(notes: np.ndarray, num_samples: int, rate_hz: int = RATE_HZ, note_sec: float = NOTE_SEC) -> np.ndarray:
    """float32 sines, one after the other; class 0 is C. Notes shorter than 0.1 s are three octaves higher."""
    times = np.arange(num_samples) / rate_hz
    lowest_hz = 261.63 if note_sec >= 0.1 else 2093.0
    frequency_N = lowest_hz * 2 ** (notes[(times / note_sec).astype(int)] / 12)
    return (0.3 * np.sin(2 * np.pi * np.cumsum(frequency_N) / rate_hz)).astype(np.float32)


def write_sung_corpus(
    root: Path, num_tracks: int = 10, num_frames: int = 200, one_note: bool = False
) -> tuple[Path, Path, Path]:
    """Codes that only the audio foretells: a note per frame, drawn anew, and a code among the 5 of that note; or one
    note for each whole track, the next in the next.

    -> manifest folder, index, tar.
    """
    random = np.random.default_rng(0)
    folder, shard = root / "manifest/sung", root / "tokens/sung/00000-of-00001.tar"
    tar = root / "audio/sung/00000-of-00001.tar"
    for path in (shard, tar):
        path.parent.mkdir(parents=True)
    codes, wavs = {}, {}
    for number in range(num_tracks):
        key = native.hash_bytes(f"sung {number}".encode())
        notes = np.full(num_frames, number % 12) if one_note else random.integers(0, 12, num_frames)
        codes[key] = (5 * notes + random.integers(0, 5, (SPEC.num_codebooks, num_frames))).astype(np.uint16)
        wav_N = play(np.append(notes, 0), (num_frames + 1) * SPEC.hop_samples, note_sec=SPEC.hop_samples / RATE_HZ)
        wavs[key] = wav_N[LEAD_SAMPLES : LEAD_SAMPLES + num_frames * SPEC.hop_samples]
    write_shard(shard, codes)
    native.write_token_index(shard.with_name("index.bin"), [shard], SPEC.digest, SPEC.card)
    with open_shard(tar) as writer:
        for key in sorted(wavs):
            writer.add(f"{key}.flac", encode_flac(np.round(wavs[key] * 2**23).astype(np.int32)[None] << 8, RATE_HZ))
    splits = {"train": list(codes)[:-2], "valid": list(codes)[-2:]}
    for split, keys in splits.items():
        lines = [make_record("sung", split, key, f"{key}.wav", None, num_frames, 1.0).to_dict() for key in keys]
        write_jsonl(folder / f"{split}.jsonl", lines)
        write_track_list(folder / f"{split}.jsonl")
    return folder, shard.with_name("index.bin"), tar
