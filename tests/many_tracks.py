"""An index and a manifest of very many tracks, made in seconds: all of them have the codes of one."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from token_corpus import SPEC, write_shard

from musicgen_core import native

NUM_FRAMES = 600


def write_many_tracks(folder: Path, num_tracks: int) -> Path:
    """Write `folder` with index.bin, train.jsonl and train.tracks; weights are 1, 2, 3, 1, ..."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(num_tracks)
    codes = random.integers(0, SPEC.card, (SPEC.num_codebooks, NUM_FRAMES)).astype(np.uint16)
    write_shard(folder / "shard.tar", {"0" * 32: codes})
    native.write_token_index(folder / "index.bin", [folder / "shard.tar"], SPEC.digest, SPEC.card)
    one = (folder / "index.bin").read_bytes()
    halves = random.integers(0, 2**64, (num_tracks, 2), dtype=np.uint64)
    halves[:, 0].sort()
    keys = halves.astype(">u8").view("V16").ravel()
    records = np.empty(num_tracks, dtype="V16, V32")
    records["f0"], records["f1"] = keys, np.frombuffer(one[64 + 16 : 64 + 48], "V32")[0]
    header = one[:16] + struct.pack("<Q", num_tracks) + one[24:64]
    content = header + records.tobytes() + one[64 + 48 : -16]
    (folder / "index.bin").write_bytes(content + bytes.fromhex(native.hash_bytes(content)))
    names = [keys[n].tobytes().hex() for n in random.permutation(num_tracks)]
    num_samples = NUM_FRAMES * SPEC.hop_samples
    rest = f'"num_samples": {num_samples}, "caption": "a caption of a usual length, more or less"'
    line = f'{{{{"track": "{{}}", {rest}}}}}\n'
    (folder / "train.jsonl").write_text("".join(map(line.format, names)))
    weights = 1.0 + np.arange(num_tracks) % 3
    native.write_track_list(folder / "train.jsonl", names, np.full(num_tracks, num_samples), weights)
    return folder
