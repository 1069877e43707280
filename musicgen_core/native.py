"""The public face of the Rust and C++ extension: audio in, numbers out. Nothing else imports the extension.

Arrays are numpy. Shape suffixes: C channels, N samples, M samples at another rate, B batch, K codebooks, T frames,
S pattern steps. Every function that takes time releases the GIL; decoding, hashing many files and checking shards also
answer Ctrl-C. Errors name the file they are about: FileNotFoundError and other OSErrors from the system, `AudioError`
with its three subclasses for what is in an audio file, `ShardError` for token shards, ValueError for arguments.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicgen_core import _rust_loader
from musicgen_core._rust_loader import AudioError as AudioError
from musicgen_core._rust_loader import CorruptAudioError as CorruptAudioError
from musicgen_core._rust_loader import LimitError as LimitError
from musicgen_core._rust_loader import ShardError as ShardError
from musicgen_core._rust_loader import UnsupportedAudioError as UnsupportedAudioError

PathLike = str | os.PathLike[str]
Wav = NDArray[np.float32]
Token = TypeVar("Token", np.uint16, np.int16, np.int64)


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file is, without decoding it."""

    container: str
    """`wave`, `aiff`, `flac`, `ogg`, `mp3`, `isomp4`, `matroska`, `aac` (ADTS), ..."""

    codec: str
    """`pcm_s16le`, `flac`, `vorbis`, `opus`, `mp3`, `aac`, `alac`, ..."""

    sample_rate_hz: int
    num_channels: int

    num_samples: int | None
    """Per channel, at the file's own rate, after the trims that `decode` makes: what `decode` returns for an undamaged
    file. None where only a decode would tell (Matroska)."""

    tags: dict[str, str]
    """Lower-case names: title, artist, album, albumartist, genre, comment, description, bpm, key, mood, keywords,
    license, copyright, composer, tracknumber, and what else the file holds under its own name. Several values of one
    name are joined by "; "; values over 4096 bytes are left out."""


@dataclass(frozen=True)
class AudioMeasure:
    """How loud audio is."""

    peak: float
    """Largest |sample|, linear."""

    rms: float
    """Root mean square over all samples of all channels, linear."""

    loudness_lufs: float | None
    """Integrated loudness by EBU R 128; None when silent or shorter than 0.4 s."""

    true_peak_dbtp: float | None
    """Peak of the oversampled signal, loudest channel; None for digital silence."""


def probe(path: PathLike) -> AudioInfo:
    """Reads an audio file's headers and tags. The content decides the format, not the suffix.

    Ogg Vorbis, AAC, and MPEG audio without a LAME tag are walked packet by packet, undecoded, to learn their length.

    Raises:
        FileNotFoundError, OSError: the file cannot be read.
        UnsupportedAudioError: not audio, or of an unknown format.
        CorruptAudioError: recognised, but damaged.
        LimitError: more than 32 channels, or a rate outside 1..768000 Hz.
    """
    return AudioInfo(*_rust_loader.probe(path))


def decode(source: PathLike | bytes, name: str | None = None) -> tuple[Wav, int]:
    """Decodes a whole file, or an encoded file held in memory (a tar member, for example).

    Encoder delay and padding are trimmed as the file says (MP3 with a LAME tag, Ogg Vorbis and Opus, ALAC). AAC has no
    such trim: its samples are as in the bitstream, usually 1024 later than other players show them.

    Args:
        source: a path, or the bytes of a file.
        name: what errors call bytes; paths name themselves.

    Returns:
        wav_CN float32, full scale 1.0 (integer samples / 2^(bits-1), floats as they are), and the rate in Hz.

    Raises:
        FileNotFoundError, OSError: the file cannot be read.
        UnsupportedAudioError: not audio, or of an unknown format.
        CorruptAudioError: truncated (fewer samples than the header says), lost or undecodable packets, a FLAC whose
            samples do not match its MD5, NaN or infinite samples, or no samples at all.
        LimitError: more than 32 channels, a rate outside 1..768000 Hz, or over 2^31 samples in all channels together.
    """
    if isinstance(source, bytes):
        return _rust_loader.decode_bytes(source, name if name is not None else f"<{len(source)} bytes>")
    return _rust_loader.decode_file(source)


def decode_segment(path: PathLike, start_samples: int, num_samples: int) -> tuple[Wav, int]:
    """Decodes part of a file: bit-equal to `decode(path)[0][:, start_samples : start_samples + num_samples]`.

    Lossless formats, Ogg Vorbis and MP3 with a LAME tag are reached by seeking, with as much pre-roll as the codec's
    memory needs. Opus, AAC, Matroska and MP3 without a LAME tag are decoded from the start, since only that is exact.

    Args:
        start_samples, num_samples: in samples of the file's own rate, not negative.

    Returns:
        wav_CN float32 and the rate in Hz. N is smaller than num_samples at the file's end, and 0 beyond it.

    Raises:
        as `decode`, for the part that is read; a file that is damaged elsewhere is not noticed.
        ValueError: a negative argument.
    """
    return _rust_loader.decode_segment(path, start_samples, num_samples)


def mix(wav_CN: Wav, num_channels: int) -> Wav:
    """Changes the number of channels by AudioCraft's rules: mean to mono, mono repeated, the first channels kept.

    Returns:
        wav [num_channels, N]; the argument itself when nothing is to be done.

    Raises:
        ValueError: more channels asked for than a file with 2 or more has, or wrong shape or dtype.
    """
    wav_CN = _planar(wav_CN)
    have = wav_CN.shape[0]
    if num_channels == have:
        return wav_CN
    if num_channels == 1:
        return _rust_loader.mix_to_mono(wav_CN)
    if have == 1 and num_channels > 1:
        return np.repeat(wav_CN, num_channels, axis=0)
    if 1 < num_channels < have:
        return wav_CN[:num_channels].copy()
    raise ValueError(f"cannot make {num_channels} channels of {have}; choose 1, or at most {have}")


def resample(wav_CN: Wav, from_hz: int, to_hz: int, preset: str = "julius24") -> Wav:
    """Changes the sample rate by a polyphase windowed sinc.

    `julius24` is AudioCraft's resampler (julius `resample_frac`, zeros=24, rolloff=0.945; ends replicated) within 1e-6.
    The output has exactly floor(N * to_hz / from_hz) samples; julius rounds that quotient to float32 first, which gives
    it one sample more for about 3 % of lengths around 30 s at 44.1 -> 32 kHz.

    Returns:
        wav_CM float32.

    Raises:
        ValueError: a rate outside 1..768000 Hz, an unknown preset, wrong shape or dtype.
        LimitError: a pair of rates whose filter would exceed 64 MiB.
    """
    if preset != "julius24":
        raise ValueError(f"unknown preset {preset!r}; there is julius24")
    return _rust_loader.resample(_planar(wav_CN), _u32("from_hz", from_hz), _u32("to_hz", to_hz))


def measure(wav_CN: Wav, sample_rate_hz: int) -> AudioMeasure:
    """Peak, RMS, integrated loudness (EBU R 128, ITU-R BS.1770) and true peak.

    Raises:
        ValueError: a sample that is not finite, a rate outside 1..768000 Hz, wrong shape or dtype.
    """
    return AudioMeasure(*_rust_loader.measure(_planar(wav_CN), _u32("sample_rate_hz", sample_rate_hz)))


def sound_bounds(wav_CN: Wav, threshold_dbfs: float) -> tuple[int, int]:
    """First, and one past the last, sample whose magnitude is above the threshold on any channel; (0, 0) if none is."""
    return _rust_loader.sound_bounds(_planar(wav_CN), threshold_dbfs)


def hash_bytes(data: bytes) -> str:
    """Digest: the first 16 bytes of BLAKE3, as 32 hex digits."""
    return _rust_loader.hash_bytes(data)


def hash_file(path: PathLike) -> str:
    """Digest of a file's bytes; FileNotFoundError or another OSError when it cannot be read."""
    return _rust_loader.hash_file(path)


def hash_files(paths: Sequence[PathLike], num_threads: int = 0) -> list[tuple[str | None, str | None]]:
    """Digests of many files, in parallel (0 threads: one per core) and in order: for each path (digest, None), or
    (None, message) when it cannot be read."""
    return _rust_loader.hash_files(list(paths), num_threads)


def interleave(
    codes_BKT: NDArray[Token], delays: Sequence[int], special: int, keep_only_valid: bool = True
) -> tuple[NDArray[Token], NDArray[np.bool_]]:
    """Applies the delay pattern (MusicGen, section 2.2): step 1 + delays[k] + t holds frame t of codebook k.

    Args:
        codes_BKT: uint16, int16 or int64.
        delays: one per codebook, ascending, not negative.
        special: what fills the other places; must fit the dtype.
        keep_only_valid: drop the steps after the last frame of the least delayed codebook (training); False keeps
            them all (generation).

    Returns:
        sequence_BKS of the same dtype, S = T + min(delays) + 1 or T + max(delays) + 1; mask_KS bool, True where a
        code is.

    Raises:
        ValueError: shape, dtype, delays or special token do not fit.
    """
    return _rust_loader.interleave(_tokens("codes_BKT", codes_BKT), list(delays), special, keep_only_valid)


def deinterleave(
    sequence_BKS: NDArray[Token], delays: Sequence[int], num_frames: int, special: int
) -> tuple[NDArray[Token], NDArray[np.bool_]]:
    """The inverse of `interleave`, for sequences of any length.

    Returns:
        codes_BKT of the same dtype with T = num_frames; mask_KT bool, False (and code = special) where the sequence
        is too short to hold the code.

    Raises:
        ValueError: shape, dtype, delays or special token do not fit.
    """
    if num_frames < 0:
        raise ValueError(f"num_frames is {num_frames}; it must not be negative")
    return _rust_loader.deinterleave(_tokens("sequence_BKS", sequence_BKS), list(delays), num_frames, special)


def philox_raw(key: tuple[int, int], counter: tuple[int, int, int, int]) -> NDArray[np.uint64]:
    """One block of Philox4x64-10, uint64 [4]; `numpy.random.Philox` gives it for the counter less one."""
    return _rust_loader.philox_raw(key, counter)


def uniform(seed: int, stream: int, epoch: int, indexes: ArrayLike, draw: int = 0) -> NDArray[np.float64]:
    """Numbers in [0, 1), one per index, each a pure function of (seed, stream, epoch, index, draw).

    The upper 53 bits of the first word of the Philox block with key (seed, stream), counter (epoch, index, draw, 0).
    """
    return _rust_loader.uniform(seed, stream, epoch, np.ascontiguousarray(indexes, dtype=np.int64), draw)


def sample_segments(
    seed: int,
    epoch: int,
    first_index: int,
    count: int,
    num_frames: ArrayLike,
    weights: ArrayLike | None,
    segment_frames: int,
    min_segment_ratio: float,
    stream: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draws segments `first_index .. first_index + count` of an epoch; each is a pure function of (seed, stream, epoch,
    index), so any part can be drawn anywhere, in any order.

    Args:
        num_frames: frames of each track, int64 [tracks].
        weights: relative chance of each track, float64 [tracks]; None for the same for all.
        segment_frames: length of a segment.
        min_segment_ratio: how much of a segment must lie inside its track, in [0, 1].

    Returns:
        tracks int64 [count] and starts int64 [count]: the track by word 0 of the Philox block (key (seed, stream),
        counter (epoch, index, 0, 0)), the start by word 1, uniform in
        [0, max(0, frames - ceil(segment_frames * min_segment_ratio))].

    Raises:
        ValueError: no tracks, negative frames or weights, weights that sum to 0.
    """
    num_frames = np.ascontiguousarray(num_frames, dtype=np.int64)
    weights = None if weights is None else np.ascontiguousarray(weights, dtype=np.float64)
    return _rust_loader.sample_segments(
        seed, epoch, first_index, count, num_frames, weights, segment_frames, min_segment_ratio, stream
    )


def write_token_index(out: Path, shards: Sequence[Path], codec_digest: str, card: int) -> None:
    """Scans token shards (tars with `{key}.codes.npy`, uint16 [K, T]) and writes their index, atomically.

    The format is in docs/formats.md. The index names shards relative to its own folder and sorts them by name, so the
    order of `shards` does not matter.

    Args:
        codec_digest: 32 hex digits.
        card: entries per codebook; every code must be below it.

    Raises:
        ShardError: a shard is truncated, or holds another dtype, shape or K, codes beyond `card`, or a key twice.
        FileNotFoundError, OSError: a shard cannot be read, or the index not written.
        ValueError: an argument is wrong.
    """
    _rust_loader.write_token_index(out, list(shards), codec_digest, card)


class TokenShards:
    """Codes of all tracks of an index, read from memory-mapped shards. Can be pickled (it opens the index again) and is
    safe to use after fork and from several threads.

    Shards must be replaced by renaming, never rewritten in place, while one is open.
    """

    def __init__(self, index_path: PathLike) -> None:
        """Opens an index: O(shards), whatever the number of tracks.

        Raises:
            FileNotFoundError: the index or one of its shards is missing.
            ShardError: it is no index, or a shard's size is not what it says.
        """
        self._index_path = Path(index_path)
        self._open = _rust_loader.TokenShards(self._index_path)
        self.num_tracks: int = self._open.num_tracks
        self.num_codebooks: int = self._open.num_codebooks  # 0 for an index without tracks
        self.card: int = self._open.card  # codes lie in [0, card)
        self.codec_digest: str = self._open.codec_digest  # 32 hex digits

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenShards, (self._index_path,)

    def __len__(self) -> int:
        return self.num_tracks

    @property
    def keys(self) -> list[str]:
        """32 hex digits per track, ascending; a track's number is its place here. Built at each call: O(tracks)."""
        return self._open.keys

    @property
    def num_frames(self) -> NDArray[np.int64]:
        """int64 [tracks]. Built at each call: O(tracks)."""
        return self._open.num_frames

    def find(self, key: str) -> int:
        """Number of the track with this key, by binary search; KeyError when there is none."""
        return self._open.find(key)

    def read(self, track: int, start: int = 0, num_frames: int | None = None) -> NDArray[np.uint16]:
        """Codes [K, T] of one track from frame `start`; T is smaller than num_frames at its end, and 0 beyond it.

        Raises:
            ValueError: no such track, or a negative start.
        """
        if num_frames is not None and num_frames < 0:
            raise ValueError(f"num_frames is {num_frames}; it must not be negative")
        return self._open.read(track, start, num_frames)

    def batch(
        self, tracks: ArrayLike, starts: ArrayLike, num_frames: int, fill: int
    ) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        """Codes of many segments.

        Args:
            tracks, starts: int64 [B].
            num_frames: T of every segment.
            fill: code after a track's end; at most 65535.

        Returns:
            codes_BKT uint16, and int64 [B] the frames of each that are there.

        Raises:
            ValueError: no such track, a negative start, or lengths that differ.
        """
        if num_frames < 0 or not 0 <= fill <= 65535:
            raise ValueError(f"num_frames {num_frames} must not be negative, fill {fill} must be in 0..65535")
        tracks = np.ascontiguousarray(tracks, dtype=np.int64)
        return self._open.batch(tracks, np.ascontiguousarray(starts, dtype=np.int64), num_frames, fill)

    def verify(self) -> None:
        """Reads every byte and compares all digests; ShardError names the shard, or the track, that is wrong."""
        self._open.verify()


def _planar(wav: Wav) -> Wav:
    """Checks and lays out what the kernels need: float32 [C, N], C-contiguous."""
    if wav.ndim != 2 or wav.dtype != np.float32:
        raise ValueError(f"expected float32 [channels, samples], got {wav.dtype} {list(wav.shape)}")
    return np.ascontiguousarray(wav)


def _tokens(name: str, tokens: NDArray[Token]) -> NDArray[Token]:
    if tokens.ndim != 3 or tokens.dtype not in (np.uint16, np.int16, np.int64):
        raise ValueError(f"{name} must be uint16, int16 or int64 with three axes, got {tokens.dtype} {tokens.shape}")
    return np.ascontiguousarray(tokens)


def _u32(name: str, value: int) -> int:
    if not 0 < value < 1 << 32:
        raise ValueError(f"{name} is {value}; it must be in 1..768000")
    return value
