"""The prepared audio of a corpus, read where the tokens of a segment come from: a byte range of a WebDataset tar.

    audio = TrackAudio(sorted(Path("results/audio/mine").glob("*.tar")), codec)
    wavs = audio.read(batch.lines, batch.starts_B, segment_frames)      # of a Batch of data/batches.py

Frame t of a track's codes stands for samples t * hop .. (t + 1) * hop of its FLAC, which is at the codec's rate.
Legend: C channels, N samples, T frames.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_core.config.data import CodecSpec
from musicgen_core.data.audio_cut import AudioPiece, cut_pieces

_REMEDY = "delete it and start snakemake again"


@dataclass(frozen=True)
class _Members:
    """Where the tracks of one tar are: 24 bytes each, since a corpus may have a million of them."""

    keys: np.ndarray
    """uint64, ascending: the first 16 hex digits of each track's key."""

    offsets: np.ndarray
    sizes: np.ndarray
    """int64: bytes."""


class TrackAudio:
    """Segments of prepared tracks, from tars `CORPUS/BUCKET.tar`; the headers of a tar are read when it is first used.

    Raises FileNotFoundError for a tar that is not there.
    """

    def __init__(self, shards: Sequence[Path], codec: CodecSpec, num_threads: int = 1) -> None:
        for path in shards:
            if not path.is_file():
                raise FileNotFoundError(f"{path}: no such prepared audio; make it with snakemake")
        self.codec, self.num_threads = codec, num_threads
        self._shards = {(path.parent.name, path.stem): path for path in shards}
        self._members: dict[Path, _Members] = {}

    def read(
        self, lines: Sequence[Mapping[str, Any]], starts: Sequence[int] | np.ndarray, num_frames: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Audio of segments of codes: lines of the manifest, and the first frame of each segment.

        Returns wav_BCN, float32 at the codec's rate and channels, 0 after a track's end; and the samples of each that
        lie inside its track, int64 [B]. Raises ValueError that names the tar and the track for one that is not there,
        damaged, or not as long as the manifest says.
        """
        num_samples = num_frames * self.codec.hop_samples
        pieces = []
        for line, start in zip(lines, starts, strict=True):
            first = int(start) * self.codec.hop_samples
            num_valid = min(max(line["num_samples"] - first, 0), num_samples)
            path, name, byte_range = self._find(line)
            pieces.append(AudioPiece(path, first, num_valid, name, byte_range))
        wav_BCN = np.empty((len(pieces), self.codec.num_channels, num_samples), dtype=np.float32)
        cut_pieces(pieces, wav_BCN, sample_rate_hz=self.codec.sample_rate_hz, num_threads=self.num_threads)
        return wav_BCN, np.array([piece.num_valid for piece in pieces], dtype=np.int64)

    def _find(self, line: Mapping[str, Any]) -> tuple[Path, str, tuple[int, int]]:
        """-> tar, what errors call the member, and its byte range."""
        path = self._shards.get((line["corpus"], line["bucket"]))
        if path is None:
            raise ValueError(
                f"no prepared audio of corpus {line['corpus']}, bucket {line['bucket']} was given; give the tar "
                f"{line['corpus']}/{line['bucket']}.tar of every bucket (--audio)"
            )
        if path not in self._members:
            self._members[path] = _read_members(path)
        members, name = self._members[path], f"{path}/{line['track']}.flac"
        place = int(np.searchsorted(members.keys, key := _shorten(line["track"])))
        if place == len(members.keys) or members.keys[place] != key:
            raise ValueError(f"{path}: holds no {line['track']}.flac ({line['path']}); {_REMEDY}")
        return path, name, (int(members.offsets[place]), int(members.sizes[place]))


def _read_members(path: Path) -> _Members:
    """ValueError names a tar that is damaged."""
    try:
        with tarfile.open(path, "r:") as tar:
            found = sorted(
                (_shorten(member.name.removesuffix(".flac")), member.offset_data, member.size) for member in tar
            )
    except (tarfile.TarError, ValueError) as error:
        raise ValueError(f"{path}: damaged tar ({error}); {_REMEDY}") from None
    keys, offsets, sizes = zip(*found, strict=True) if found else ((), (), ())
    return _Members(np.array(keys, np.uint64), np.array(offsets, np.int64), np.array(sizes, np.int64))


def _shorten(key: str) -> np.uint64:
    """A key is a digest: its first 64 bits tell the tracks of one bucket apart."""
    return np.uint64(int(key[:16], 16))
