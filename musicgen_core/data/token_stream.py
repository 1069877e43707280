"""Codes streamed from token shards that are not on this machine, through plain `webdataset`.

    stream = TokenStream("https://host/tokens/{00000..00063}-of-00064.tar", codec, segment_frames=250, seed=0)
    for sample in torch.utils.data.DataLoader(stream, batch_size=16, num_workers=2):
        sample["codes_KT"]  # uint16 [16, K, 250], `card` after a track's end

A shard is a path, a URL (webdataset calls curl) or `pipe:` and a shell command. Shards are dealt to processes and
workers, and read from front to back; for draws over all tracks and exact resumes copy them and use `TokenBatches`.
Legend: K codebooks, T frames.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import numpy as np
import torch
import webdataset as wds
from webdataset.gopen import gopen
from webdataset.tariterators import group_by_keys, tar_file_iterator

from musicgen_core import native
from musicgen_core.config.data import CodecSpec
from musicgen_core.util.streams import STREAM_SEGMENTS

_END_OF_TAR = bytes(1024)


class TokenStream(torch.utils.data.IterableDataset[dict[str, Any]]):
    """One segment per track and epoch: `{"key", "codes_KT", "num_valid"}`.

    The start is a pure function of (seed, epoch, key), uniform over those whose segment lies inside the track. With
    `segment_frames=None` tracks come whole. Set `epoch` before each pass. With several processes or DataLoader workers
    there must be as many shards at least; each is read by one of them.

    Raises, while iterating, ValueError that names the shard: unreachable, cut short, no tar, or codes that are not
    this codec's.
    """

    def __init__(
        self, urls: str | Sequence[str], codec: CodecSpec, *, segment_frames: int | None = None, seed: int = 0
    ) -> None:
        self.epoch = 0
        self._codec, self._segment_frames, self._seed = codec, segment_frames, seed
        self._pipeline = wds.DataPipeline(
            wds.SimpleShardList(urls if isinstance(urls, str) else list(urls)),
            wds.split_by_node,
            wds.split_by_worker,
            _read_shards,
            group_by_keys,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for sample in self._pipeline:
            codes_KT = _read_codes(sample, self._codec)
            yield self._cut(sample["__key__"], codes_KT)

    def _cut(self, key: str, codes_KT: np.ndarray) -> dict[str, Any]:
        num_frames = codes_KT.shape[1]
        length = num_frames if self._segment_frames is None else self._segment_frames
        number = int.from_bytes(bytes.fromhex(native.hash_bytes(key.encode()))[:7], "little")
        place = native.uniform(self._seed, STREAM_SEGMENTS, self.epoch, [number])[0]
        start = int(place * (max(0, num_frames - length) + 1))
        part_KT = codes_KT[:, start : start + length]
        padded_KT = np.full((codes_KT.shape[0], length), self._codec.card, dtype=np.uint16)
        padded_KT[:, : part_KT.shape[1]] = part_KT
        return {"key": key, "codes_KT": torch.from_numpy(padded_KT), "num_valid": part_KT.shape[1]}


class _Tail(io.RawIOBase):
    """A stream that remembers its last bytes, so that one which stops between two members is found out."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.last = stream, b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.last = (self.last + data)[-len(_END_OF_TAR) :]
        return data


def _read_shards(shards: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Members of each shard, and an empty sample after it, as `webdataset` expands tars; but whole or an error."""
    for shard in shards:
        url = shard["url"]
        try:
            with gopen(url) as stream:
                tail = _Tail(stream)
                for member in tar_file_iterator(tail):
                    yield member | {"__url__": url}
                while tail.read(1 << 20):
                    pass
                if tail.last != _END_OF_TAR:
                    raise tarfile.ReadError("it is cut short: a tar ends with two blocks of zeros")
        except (OSError, tarfile.TarError) as error:
            raise ValueError(f"{url}: {error}; check that the shard is there and whole") from error
        yield {}


def _read_codes(sample: dict[str, Any], codec: CodecSpec) -> np.ndarray:
    """-> uint16 [K, T]; the digest beside the codes and their range must be this codec's."""
    name = f"{sample['__url__']}: {sample['__key__']}"
    if "codes.npy" not in sample or "json" not in sample:
        raise ValueError(f"{name}: no .codes.npy and .json; is this a token shard?")
    try:
        digest = json.loads(sample["json"])["codec"]
        codes_KT = np.lib.format.read_array(io.BytesIO(sample["codes.npy"]), allow_pickle=False)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{name}: damaged ({error})") from None
    if digest != codec.digest:
        raise ValueError(f"{name}: codes of codec {digest}, but `{codec.name}` is {codec.digest}; tokenise again")
    if codes_KT.dtype != np.uint16 or codes_KT.ndim != 2 or codes_KT.shape[0] != codec.num_codebooks:
        raise ValueError(f"{name}: {codes_KT.dtype} {list(codes_KT.shape)}, not uint16 [{codec.num_codebooks}, T]")
    if codes_KT.size and int(codes_KT.max()) >= codec.card:
        raise ValueError(f"{name}: code {int(codes_KT.max())}, but the codec has {codec.card}")
    return codes_KT
