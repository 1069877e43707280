"""Audio at another sample rate: whole arrays, and segments straight from files."""

from __future__ import annotations

import numpy as np

from musicgen_core import _rust_loader
from musicgen_core.native.arguments import planar, rate
from musicgen_core.native.types import PathLike, Wav


def resample(wav_CN: Wav, from_hz: int, to_hz: int, preset: str = "julius24") -> Wav:
    """Changes the sample rate by a polyphase windowed sinc; docs/resampling.md compares the presets.

    `julius24` is AudioCraft's resampler (julius `resample_frac`, zeros=24, rolloff=0.945) within 1e-6. `hq` is a Kaiser
    windowed sinc of 80 zero crossings: all that lies above the lower rate's Nyquist frequency is at least 100 dB down,
    and 0.94 of that frequency less than 0.5 dB; it takes two to three times as long. Both repeat the end samples.

    The output has exactly floor(N * to_hz / from_hz) samples; julius rounds that quotient to float32 first, which gives
    it one sample more for about 3 % of lengths around 30 s at 44.1 -> 32 kHz.

    Returns:
        wav_CM float32, the same bits on every processor.

    Raises:
        ValueError: a rate outside 1..768000 Hz, an unknown preset, wrong shape or dtype.
        LimitError: a pair of rates whose filter would exceed 64 MiB.
    """
    return _rust_loader.resample(planar(wav_CN), rate("from_hz", from_hz), rate("to_hz", to_hz), preset)


def read_segment(
    source: PathLike | bytes,
    start_samples: int,
    num_samples: int,
    *,
    sample_rate_hz: int,
    num_channels: int,
    preset: str = "julius24",
    out: Wav | None = None,
    name: str | None = None,
    byte_range: tuple[int, int] | None = None,
) -> Wav:
    """Part of a file at a rate and number of channels of choice, in one pass that decodes only what it needs.

    Bit-equal to samples `start_samples ..` of `resample(mix(wav_CN, num_channels), file_hz, sample_rate_hz, preset)`
    for the file's whole decode wav_CN. (Channels are mixed first, which for stereo to mono costs half as much as
    AudioCraft's order and differs from it by rounding only, below 1e-6.)

    Args:
        source: a path, or the bytes of a file.
        start_samples, num_samples: in samples of the rate asked for, not negative.
        num_channels: as in `mix`.
        out: float32 [num_channels, num_samples], C-contiguous, such as one item of a pinned batch: filled in place,
            with 0 behind the file's end.
        name: what errors call bytes, or part of a file; paths name themselves.
        byte_range: (offset, number of bytes) where `source`, a path, holds the encoded file, such as a member of a tar.
            WAV, AIFF, FLAC and MP4 are sought inside it as in a file of their own.

    Returns:
        wav_CN float32; N is smaller than num_samples at the file's end, and 0 beyond it. A view of `out` if given.

    Raises:
        as `decode_segment` and `resample`; ValueError when the file has too few channels, or `out` does not fit.
    """
    if not 0 < num_channels <= 32:
        raise ValueError(f"num_channels is {num_channels}; it must be in 1..32")
    if out is not None and not (
        out.shape == (num_channels, num_samples)
        and out.dtype == np.float32
        and out.flags.c_contiguous
        and out.flags.writeable
    ):
        expected = f"writeable, C-contiguous float32 [{num_channels}, {num_samples}]"
        raise ValueError(f"out must be {expected}; it is {out.dtype} {list(out.shape)}")
    if byte_range is not None and (isinstance(source, bytes) or min(byte_range) < 0):
        raise ValueError(f"byte_range {byte_range}: needs a path, an offset and a number of bytes, neither negative")
    if name is None and isinstance(source, bytes):
        name = f"<{len(source)} bytes>"
    elif name is None:
        name = f"{source!s}, {byte_range[1]} bytes at {byte_range[0]}" if byte_range is not None else ""
    wav_CN, length = _rust_loader.read_audio_segment(
        source,
        name,
        start_samples,
        num_samples,
        rate("sample_rate_hz", sample_rate_hz),
        num_channels,
        preset,
        out,
        byte_range,
    )
    if out is not None:
        return out[:, :length]
    assert wav_CN is not None
    return wav_CN


def kernel_targets() -> list[str]:
    """What the filter can be computed with on this machine, slowest first: `scalar` (the loop that defines the result),
    `baseline`, and on x86-64 `avx2` and `avx512` where the processor has them. The last one is used. All give the same
    bits."""
    return _rust_loader.kernel_targets()


def use_kernel_target(name: str) -> str:
    """Makes this process use one of `kernel_targets()`, to compare them; returns the one used before.

    Raises:
        ValueError: this machine has no such target.
    """
    return _rust_loader.use_kernel_target(name)
