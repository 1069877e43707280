"""Audio files and audio arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from musicgen_core import _rust_loader
from musicgen_core.native.arguments import planar, rate
from musicgen_core.native.types import PathLike, Wav


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

    Ogg Vorbis, AAC, and MPEG audio whose LAME tag is missing or does not fit the file's size are walked packet by
    packet, undecoded, to learn their length. Damaged tags of MPEG audio that decodes are left out.

    Raises:
        FileNotFoundError, OSError: the file cannot be read.
        UnsupportedAudioError: not audio, or of an unknown format.
        CorruptAudioError: recognised, but damaged.
        LimitError: more than 32 channels, or a rate outside 1..768000 Hz.
    """
    return AudioInfo(*_rust_loader.probe(path))


def decode(source: PathLike | bytes, name: str | None = None) -> tuple[Wav, int]:
    """Decodes a whole file, or an encoded file held in memory (a tar member, for example).

    Encoder delay and padding are trimmed as the file says: MP3 with a LAME tag; Ogg; AAC and ALAC in MP4, by iTunes'
    gapless entry, the edit list and the packets' durations; Matroska and WebM. Bare AAC (ADTS) says nothing of them, so
    all its samples are kept, usually 1024 of silence first. MPEG audio without a LAME tag is all there, too; tags and
    junk between its frames are passed over, and files that were joined are read to the end, though the first one's tag
    knows nothing of the second. docs/formats.md has the rules.

    Args:
        source: a path, or the bytes of a file.
        name: what errors call bytes; paths name themselves.

    Returns:
        wav_CN float32, full scale 1.0 (integer samples / 2^(bits-1), floats as they are), and the rate in Hz.

    Raises:
        FileNotFoundError, OSError: the file cannot be read.
        UnsupportedAudioError: not audio, or of an unknown format.
        CorruptAudioError: truncated (fewer samples than the header says, no last page in Ogg, half a frame), lost or
            undecodable packets, a FLAC whose samples do not match its MD5, NaN or infinite samples, or no samples at
            all.
        LimitError: more than 32 channels, a rate outside 1..768000 Hz, or over 2^31 samples in all channels together.
    """
    if isinstance(source, bytes):
        return _rust_loader.decode_bytes(source, name if name is not None else f"<{len(source)} bytes>")
    return _rust_loader.decode_file(source)


def decode_segment(
    path: PathLike, start_samples: int, num_samples: int, *, from_start: bool = False
) -> tuple[Wav, int]:
    """Decodes part of a file: bit-equal to `decode(path)[0][:, start_samples : start_samples + num_samples]`.

    The part is reached by seeking, with as much pre-roll as the codec's memory needs, at a cost that does not depend on
    where it lies. Ogg, Matroska, ADTS and MPEG files are walked once per process and file to learn where samples lie;
    what was learnt stays in memory until the file changes (at most 64 MiB, which is more than 150 hours at 24 bytes per
    quarter of a second; MPEG has 16 MiB of its own). Decoded from the start instead, since only that is exact: Opus in
    its speech modes, fragmented MP4, files that are damaged or irregular before the part.

    The one exception to bit-equality: AAC with noise substitution (PNS, which ffmpeg's own encoder uses). The standard
    leaves that noise to the decoder, whose generator's state depends on all that was decoded before. The difference is
    noise of the same level in the same bands; `from_start` avoids it.

    Args:
        start_samples, num_samples: in samples of the file's own rate, not negative.
        from_start: decode from the start of the file whatever its format.

    Returns:
        wav_CN float32 and the rate in Hz. N is smaller than num_samples at the file's end, and 0 beyond it.

    Raises:
        as `decode`, for the part that is read; a file that is damaged elsewhere is not noticed.
        ValueError: a negative argument.
    """
    return _rust_loader.decode_segment(path, start_samples, num_samples, from_start)


def mix(wav_CN: Wav, num_channels: int) -> Wav:
    """Changes the number of channels by AudioCraft's rules: mean to mono, mono repeated, the first channels kept.

    Returns:
        wav [num_channels, N]; the argument itself when nothing is to be done.

    Raises:
        ValueError: more channels asked for than a file with 2 or more has, or wrong shape or dtype.
    """
    wav_CN = planar(wav_CN)
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


def measure(wav_CN: Wav, sample_rate_hz: int) -> AudioMeasure:
    """Peak, RMS, integrated loudness (EBU R 128, ITU-R BS.1770) and true peak.

    Raises:
        ValueError: a sample that is not finite, a rate outside 1..768000 Hz, wrong shape or dtype.
    """
    return AudioMeasure(*_rust_loader.measure(planar(wav_CN), rate("sample_rate_hz", sample_rate_hz)))


def sound_bounds(wav_CN: Wav, threshold_dbfs: float) -> tuple[int, int]:
    """First, and one past the last, sample whose magnitude is above the threshold on any channel; (0, 0) if none is."""
    return _rust_loader.sound_bounds(planar(wav_CN), threshold_dbfs)
