"""Stereo from a mono codec: what the pipeline must know of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from musicgen_core import native
from musicgen_core.config.data import CodecSpec


def with_channels(spec: CodecSpec, num_channels: int | None, folder: Path) -> CodecSpec:
    """The spec when audio of so many channels is coded; None: the codec's own number.

    A mono codec codes left and right apart; their codebooks alternate, L1, R1, L2, R2, ..., as in AudioCraft
    (audiocraft/models/encodec.py, InterleaveStereoCompressionModel) and transformers (MusicGen's audio_channels 2).
    Raises ValueError for any other change of channels.
    """
    if num_channels is None or num_channels == spec.num_channels:
        return spec
    if (spec.num_channels, num_channels) != (1, 2):
        raise ValueError(
            f"{folder}: the codec has {spec.num_channels} channels, but codec.num_channels is {num_channels}; "
            f"set it to {spec.num_channels} or null, or choose a mono codec"
        )
    return replace(
        spec,
        name=f"{spec.name}_stereo",
        digest=native.hash_bytes(f"{spec.digest} left and right".encode()),
        num_channels=2,
        num_codebooks=2 * spec.num_codebooks,
        interleaved=True,
    )
