"""The compiled extension (rust_loader/). Nothing but musicgen_core/native.py imports it; that file documents it."""

from os import PathLike
from typing import Any, TypeAlias, TypeVar, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AudioError",
    "CorruptAudioError",
    "LimitError",
    "ShardError",
    "TokenSampler",
    "TokenShards",
    "TrackList",
    "UnsupportedAudioError",
    "decode_bytes",
    "decode_file",
    "decode_segment",
    "deinterleave",
    "hash_bytes",
    "hash_file",
    "hash_files",
    "interleave",
    "kernel_targets",
    "measure",
    "mix_to_mono",
    "panic_for_tests",
    "philox_raw",
    "probe",
    "read_audio_segment",
    "resample",
    "sound_bounds",
    "uniform",
    "use_kernel_target",
    "write_token_index",
    "write_track_list",
]

_Path: TypeAlias = str | PathLike[str]
_Token = TypeVar("_Token", np.uint16, np.int16, np.int64)

class AudioError(ValueError): ...
class CorruptAudioError(AudioError): ...
class UnsupportedAudioError(AudioError): ...
class LimitError(AudioError): ...
class ShardError(ValueError): ...

def probe(path: _Path) -> tuple[str, str, int, int, int | None, dict[str, str]]: ...
def decode_file(path: _Path) -> tuple[NDArray[np.float32], int]: ...
def decode_bytes(data: bytes, name: str) -> tuple[NDArray[np.float32], int]: ...
def decode_segment(
    path: _Path, start_samples: int, num_samples: int, from_start: bool
) -> tuple[NDArray[np.float32], int]: ...
def mix_to_mono(wav: NDArray[np.float32]) -> NDArray[np.float32]: ...
def resample(wav: NDArray[np.float32], from_hz: int, to_hz: int, preset: str) -> NDArray[np.float32]: ...
def read_audio_segment(
    source: bytes | _Path,
    name: str,
    start: int,
    count: int,
    sample_rate_hz: int,
    num_channels: int,
    preset: str,
    out: NDArray[np.float32] | None,
    byte_range: tuple[int, int] | None,
) -> tuple[NDArray[np.float32] | None, int]: ...
def kernel_targets() -> list[str]: ...
def use_kernel_target(name: str) -> str: ...
def measure(wav: NDArray[np.float32], sample_rate_hz: int) -> tuple[float, float, float | None, float | None]: ...
def panic_for_tests() -> None: ...
def sound_bounds(wav: NDArray[np.float32], threshold_dbfs: float) -> tuple[int, int]: ...
def hash_bytes(data: bytes) -> str: ...
def hash_file(path: _Path) -> str: ...
def hash_files(paths: list[_Path], num_threads: int) -> list[tuple[str | None, str | None]]: ...
def interleave(
    codes: NDArray[_Token], steps: NDArray[np.int64], num_steps: int, special: int
) -> tuple[NDArray[_Token], NDArray[np.bool_]]: ...
def deinterleave(
    sequence: NDArray[_Token], steps: NDArray[np.int64], special: int
) -> tuple[NDArray[_Token], NDArray[np.bool_]]: ...
def philox_raw(key: tuple[int, int], counter: tuple[int, int, int, int]) -> NDArray[np.uint64]: ...
def uniform(seed: int, stream: int, epoch: int, indexes: NDArray[np.int64], draw: int) -> NDArray[np.float64]: ...
def write_token_index(out: _Path, shards: list[_Path], codec_digest: str, card: int) -> None: ...

@final
class TokenShards:
    def __new__(cls, index_path: _Path) -> TokenShards: ...
    @property
    def num_tracks(self) -> int: ...
    @property
    def num_codebooks(self) -> int: ...
    @property
    def card(self) -> int: ...
    @property
    def codec_digest(self) -> str: ...
    @property
    def keys(self) -> list[str]: ...
    @property
    def num_frames(self) -> NDArray[np.int64]: ...
    def find(self, key: str) -> int: ...
    def read(self, track: int, start: int, num_frames: int | None) -> NDArray[np.uint16]: ...
    def verify(self) -> None: ...

def write_track_list(
    manifest: _Path, keys: bytes, num_samples: NDArray[np.int64], weights: NDArray[np.float64]
) -> None: ...

@final
class TrackList:
    def __new__(cls, manifest: _Path) -> TrackList: ...
    @property
    def num_tracks(self) -> int: ...
    @property
    def total_samples(self) -> int: ...
    @property
    def longest_samples(self) -> int: ...
    @property
    def manifest_digest(self) -> str: ...
    def key(self, track: int) -> str: ...
    def line(self, track: int) -> bytes: ...

_Column: TypeAlias = NDArray[np.int64]
_Columns: TypeAlias = tuple[_Column, _Column, _Column, _Column, _Column, _Column, _Column]

@final
class TokenSampler:
    def __new__(
        cls,
        lists: list[TrackList],
        shards: list[TokenShards],
        seed: int,
        stream: int,
        sample_by: str,
        replacement: bool,
        shares: list[float] | None,
        epoch_samples: int | None,
        segment_frames: int,
        min_segment_ratio: float,
        frames: NDArray[np.int64] | None,
        num_codebooks: int,
        special: int,
    ) -> TokenSampler: ...
    @property
    def num_steps(self) -> int: ...
    def check(self) -> None: ...
    def draw(self, first_sample: int, count: int) -> _Columns: ...
    def cut(
        self,
        lists: _Column,
        rows: _Column,
        starts: _Column,
        out: NDArray[Any],
        mask: NDArray[np.bool_] | None,
        num_threads: int,
    ) -> None: ...
    def batch(
        self,
        first_sample: int,
        batch_size: int,
        share: tuple[int, int],
        out: NDArray[Any],
        mask: NDArray[np.bool_] | None,
        num_threads: int,
    ) -> _Columns: ...
