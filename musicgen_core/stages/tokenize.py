"""Tokenize: encode one bucket of prepared audio into codes, in a WebDataset tar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from musicgen_core import native
from musicgen_core.config.root import TokenizeStageConfig
from musicgen_core.data.plan import read_where
from musicgen_core.data.shard_read import list_members, read_members
from musicgen_core.data.shard_write import open_shard
from musicgen_core.util.log import progress

if TYPE_CHECKING:
    from musicgen_core.codec.base import Codec


def run(config: TokenizeStageConfig, *, audio: Path, where: Path, out: Path) -> None:
    """Encode every track of the tar `audio` with the codec that `where` points to.

    Writes {key}.codes.npy (uint16 [K,T], C order) and {key}.json per track, in the order of the tar; an empty tar gives
    an empty shard. Raises ValueError when the codec's files are not those of the plan, or codes do not fit the codec.
    """
    names = list_members(audio)
    label = f"tokenize {audio.parent.name} {audio.stem}"
    with open_shard(out) as shard:
        if not names:
            return
        codec = _load_codec(config, read_where(where).codec)
        for name, data in progress(read_members(audio), label, total=len(names)):
            key = name.removesuffix(".flac")
            wav_CN, sample_rate_hz = native.decode(data, f"{audio}:{name}")
            codes_KT = _encode(codec, wav_CN, config, f"{audio}:{name}")
            shard.add_array(f"{key}.codes.npy", codes_KT)
            shard.add_json(
                f"{key}.json",
                {
                    "key": key,
                    "num_frames": codes_KT.shape[1],
                    "num_samples": wav_CN.shape[1],
                    "sample_rate_hz": sample_rate_hz,
                    "codec": config.codec.digest,
                },
            )


def _load_codec(config: TokenizeStageConfig, folder: Path) -> Codec:
    import torch

    from musicgen_core.codec.load import load_codec

    device = "cuda" if torch.cuda.is_available() else "cpu"
    codec = load_codec(folder, device, config.codec.num_channels)
    if codec.spec.digest != config.codec.digest:
        raise ValueError(
            f"{folder}: the codec changed since the plan (digest {codec.spec.digest}, planned {config.codec.digest}); "
            "start snakemake again"
        )
    return codec


def _encode(codec: Codec, wav_CN: np.ndarray, config: TokenizeStageConfig, name: str) -> np.ndarray:
    from musicgen_core.codec.base import encode_track

    codes_KT = encode_track(codec, wav_CN, config.tokenize)
    num_codebooks, largest = codes_KT.shape[0], int(codes_KT.max(initial=0))
    if codes_KT.dtype != np.uint16 or num_codebooks != config.codec.num_codebooks or largest >= config.codec.card:
        raise ValueError(
            f"{name}: codes {codes_KT.dtype} [{num_codebooks}, T] up to {largest}, but the codec has "
            f"{config.codec.num_codebooks} codebooks of {config.codec.card}; its config does not belong to its weights"
        )
    return codes_KT
