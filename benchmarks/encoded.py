"""One made-up track in many formats: chords, a melody and a little noise, 44.1 kHz stereo, encoded by ffmpeg."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 44_100
ENCODERS = {
    "wav": ("wav", ["-c:a", "pcm_s16le"]),
    "flac": ("flac", []),
    "mp3-192k": ("mp3", ["-b:a", "192k"]),
    "mp3-V2": ("mp3", ["-q:a", "2"]),
    "ogg": ("ogg", ["-c:a", "libvorbis", "-q:a", "5"]),
    "m4a": ("m4a", ["-c:a", "aac", "-b:a", "160k"]),
    "opus": ("opus", ["-c:a", "libopus", "-b:a", "128k"]),
}
"""Name -> suffix and ffmpeg's arguments."""

MORE_ENCODERS = {
    "wav-s24": ("wav", ["-c:a", "pcm_s24le"]),
    "wav-f32": ("wav", ["-c:a", "pcm_f32le"]),
    "aiff-s16": ("aiff", ["-c:a", "pcm_s16be"]),
    "alac": ("m4a", ["-c:a", "alac"]),
    "aac-adts": ("aac", ["-c:a", "aac", "-b:a", "160k"]),
    "webm-opus": ("webm", ["-c:a", "libopus", "-b:a", "128k"]),
    "mkv-vorbis": ("mkv", ["-c:a", "libvorbis", "-q:a", "5"]),
}
"""Less usual formats, which torchcodec reads, too."""


def write_tracks(folder: Path, encoders: Mapping[str, tuple[str, list[str]]], track_sec: int) -> dict[str, Path]:
    """-> the track's file in each format, by its name."""
    t = np.arange(RATE_HZ * track_sec) / RATE_HZ
    melody_hz = np.random.default_rng(1).choice([440, 495, 554, 659, 740], track_sec * 4)[(t * 4).astype(int)]
    phase = 2 * np.pi * np.cumsum(melody_hz) / RATE_HZ
    chords = sum(np.sin(2 * np.pi * f * t) for f in (220.0, 277.2, 329.6)) * np.exp(-4 * (t % 0.5))
    left = 0.15 * chords + 0.1 * np.sign(np.sin(phase))
    noise_NC = np.random.default_rng(0).standard_normal((len(t), 2)) * 0.02
    source = folder / "source.wav"
    soundfile.write(source, np.stack([left, 0.8 * np.roll(left, 300)], 1) + noise_NC, RATE_HZ, subtype="PCM_24")
    paths = {}
    for name, (suffix, flags) in encoders.items():
        paths[name] = folder / f"{name}.{suffix}"
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, *flags, paths[name]], check=True)
    source.unlink()
    return paths
