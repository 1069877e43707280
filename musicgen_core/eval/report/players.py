"""Audio that travels inside the page: encoded, drawn and listed with what is to be known of it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musicgen_core import native
from musicgen_core.eval.report.picture import draw_audio
from musicgen_core.util.memory_file import memory_file

AUDIO_BUDGET_BYTES = 9_000_000
"""Of encoded audio in one page; base64 and pictures bring that to about 15 MB."""

SILENT_DBFS = -60.0
CLIPPED_SHARE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Player:
    """One audio element. `audio` and `picture` are data URIs; `audio` is null when the page was full."""

    audio: str | None
    picture: str
    duration_sec: float
    top_khz: float
    """Highest frequency of the picture."""

    loudness: str
    warnings: list[str]
    """What a listener should know, such as that it is silent."""


def make_players(wavs: Sequence[np.ndarray], sample_rate_hz: int) -> list[Player]:
    """Players of wav_CN in order, their waveforms drawn to one scale.

    Lossless FLAC when all fit the budget; else MP3, and no audio for those beyond it.
    """
    encoded = [_encode(wav_CN, sample_rate_hz, "FLAC") for wav_CN in wavs]
    kind = "flac"
    if sum(map(len, encoded)) > AUDIO_BUDGET_BYTES:
        encoded, kind = [_encode(wav_CN, sample_rate_hz, "MP3") for wav_CN in wavs], "mpeg"
    loudest = max((float(np.abs(wav_CN).max(initial=0)) for wav_CN in wavs), default=1.0)
    ends = np.cumsum([len(data) for data in encoded])
    return [
        _make_player(wav_CN, sample_rate_hz, data if end <= AUDIO_BUDGET_BYTES else None, kind, max(loudest, 0.05))
        for wav_CN, data, end in zip(wavs, encoded, ends, strict=True)
    ]


def data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def find_faults(wav_CN: np.ndarray, sample_rate_hz: int) -> list[str]:
    """Faults that numbers show before ears do: silence, clipping, an offset, a stuck end."""
    peak = float(np.abs(wav_CN).max(initial=0))
    if peak < 10 ** (SILENT_DBFS / 20):
        return ["silent"]
    faults = []
    clipped = float((np.abs(wav_CN) >= 0.998).mean())
    if clipped > CLIPPED_SHARE:
        faults.append(f"{clipped:.1%} of samples at full scale")
    offset = float(np.abs(wav_CN.mean(axis=1)).max())
    if offset > 0.05:
        faults.append(f"constant offset of {offset:.2f}")
    _, end = native.sound_bounds(np.ascontiguousarray(wav_CN, dtype=np.float32), SILENT_DBFS)
    quiet_sec = (wav_CN.shape[1] - end) / sample_rate_hz
    if quiet_sec > 1:
        faults.append(f"the last {quiet_sec:.1f} s are silent")
    return faults


def _make_player(
    wav_CN: np.ndarray, sample_rate_hz: int, encoded: bytes | None, kind: str, full_scale: float
) -> Player:
    loudness = native.measure(np.ascontiguousarray(wav_CN, dtype=np.float32), sample_rate_hz).loudness_lufs
    return Player(
        audio=None if encoded is None else data_uri(encoded, f"audio/{kind}"),
        picture=data_uri(draw_audio(wav_CN, sample_rate_hz, full_scale), "image/png"),
        duration_sec=wav_CN.shape[1] / sample_rate_hz,
        top_khz=sample_rate_hz / 2000,
        loudness="too quiet to measure" if loudness is None else f"{loudness:.1f} LUFS",
        warnings=find_faults(wav_CN, sample_rate_hz),
    )


def _encode(wav_CN: np.ndarray, sample_rate_hz: int, container: str) -> bytes:
    import soundfile

    subtype = {"FLAC": "PCM_16", "MP3": "MPEG_LAYER_III"}[container]
    wav_NC = np.clip(wav_CN, -1, 1).T
    with memory_file() as file:
        soundfile.write(file.fileno(), wav_NC, sample_rate_hz, format=container, subtype=subtype, closefd=False)
        file.seek(0)
        return file.read()
