"""Audio files of every format, made on the spot. soundfile is an independent encoder and decoder; ffmpeg, where there
is one, makes what soundfile cannot."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

NUM_SAMPLES = 150_001
RATE_HZ = 44_100


@dataclass(frozen=True)
class Encoded:
    """A file and how to make it: by soundfile (`subtype`) or by ffmpeg (`arguments`)."""

    suffix: str
    container: str
    codec: str
    subtype: str | None = None
    arguments: tuple[str, ...] = ()
    rate_hz: int = RATE_HZ
    num_channels: int = 2
    source: str = "PCM_16"
    """What ffmpeg gets to encode."""


FORMATS = {
    "wav_u8": Encoded("wav", "wave", "pcm_u8", "PCM_U8"),
    "wav_s16": Encoded("wav", "wave", "pcm_s16le", "PCM_16"),
    "wav_s24": Encoded("wav", "wave", "pcm_s24le", "PCM_24"),
    "wav_s32": Encoded("wav", "wave", "pcm_s32le", "PCM_32"),
    "wav_f32": Encoded("wav", "wave", "pcm_f32le", "FLOAT"),
    "wav_f64": Encoded("wav", "wave", "pcm_f64le", "DOUBLE"),
    "wav_extensible": Encoded("wav", "wave", "pcm_s24le", arguments=("-c:a", "pcm_s24le")),
    "aiff_s16": Encoded("aiff", "aiff", "pcm_s16be", "PCM_16"),
    "aiff_s24": Encoded("aiff", "aiff", "pcm_s24be", "PCM_24"),
    "aiff_s32": Encoded("aiff", "aiff", "pcm_s32be", "PCM_32"),
    "aifc_s16": Encoded("aiff", "aiff", "pcm_s16le", arguments=("-c:a", "pcm_s16le", "-f", "aiff")),
    "flac_s16": Encoded("flac", "flac", "flac", "PCM_16"),
    "flac_s24": Encoded("flac", "flac", "flac", "PCM_24"),
    "vorbis": Encoded("ogg", "ogg", "vorbis", "VORBIS"),
    "vorbis_ffmpeg": Encoded("ogg", "ogg", "vorbis", arguments=("-c:a", "libvorbis", "-q:a", "8")),
    "opus": Encoded("opus", "ogg", "opus", "OPUS", rate_hz=48_000),
    "mp3": Encoded("mp3", "mp3", "mp3", "MPEG_LAYER_III"),
    "mp3_cbr_128k": Encoded("mp3", "mp3", "mp3", arguments=("-c:a", "libmp3lame", "-b:a", "128k")),
    "mp3_cbr_320k": Encoded("mp3", "mp3", "mp3", arguments=("-c:a", "libmp3lame", "-b:a", "320k")),
    "mp3_vbr": Encoded("mp3", "mp3", "mp3", arguments=("-c:a", "libmp3lame", "-q:a", "2")),
    "mp3_8k_mono": Encoded(
        "mp3", "mp3", "mp3", arguments=("-c:a", "libmp3lame", "-b:a", "8k", "-ac", "1"), rate_hz=16_000
    ),
    "mp3_32k_mono": Encoded("mp3", "mp3", "mp3", arguments=("-c:a", "libmp3lame", "-b:a", "32k", "-ac", "1")),
    "mp3_no_tag": Encoded(
        "mp3", "mp3", "mp3", arguments=("-c:a", "libmp3lame", "-q:a", "4", "-write_xing", "0", "-id3v2_version", "0")
    ),
    "m4a_aac": Encoded("m4a", "isomp4", "aac", arguments=("-c:a", "aac", "-b:a", "128k")),
    "m4a_aac_faststart": Encoded(
        "m4a", "isomp4", "aac", arguments=("-c:a", "aac", "-b:a", "96k", "-movflags", "+faststart")
    ),
    "aac_adts": Encoded("aac", "aac", "aac", arguments=("-c:a", "aac", "-b:a", "128k")),
    "m4a_alac": Encoded("m4a", "isomp4", "alac", arguments=("-c:a", "alac")),
    "m4a_alac_s24": Encoded(
        "m4a", "isomp4", "alac", arguments=("-c:a", "alac", "-sample_fmt", "s32p"), source="PCM_24"
    ),
    "wav_s16_three": Encoded("wav", "wave", "pcm_s16le", "PCM_16", num_channels=3),
    "wav_f32_five": Encoded(
        "wav", "wave", "pcm_f32le", arguments=("-c:a", "pcm_f32le"), num_channels=5, source="FLOAT"
    ),
    "wav_s24_six": Encoded(
        "wav", "wave", "pcm_s24le", arguments=("-c:a", "pcm_s24le"), num_channels=6, source="PCM_24"
    ),
    "flac_s24_four": Encoded("flac", "flac", "flac", "PCM_24", num_channels=4),
    "flac_s16_eight": Encoded("flac", "flac", "flac", "PCM_16", num_channels=8),
    "opus_mono_low": Encoded(
        "opus", "ogg", "opus", arguments=("-c:a", "libopus", "-b:a", "24k", "-ac", "1"), rate_hz=48_000
    ),
    "opus_speech": Encoded(
        "opus",
        "ogg",
        "opus",
        arguments=("-c:a", "libopus", "-b:a", "16k", "-application", "voip", "-ac", "1"),
        rate_hz=48_000,
    ),
    "opus_short": Encoded(
        "opus", "ogg", "opus", arguments=("-c:a", "libopus", "-b:a", "160k", "-frame_duration", "2.5"), rate_hz=48_000
    ),
    "m4a_aac_plain": Encoded("m4a", "isomp4", "aac", arguments=("-c:a", "aac", "-b:a", "128k", "-aac_pns", "0")),
    "aac_adts_plain": Encoded("aac", "aac", "aac", arguments=("-c:a", "aac", "-b:a", "128k", "-aac_pns", "0")),
    "mkv_flac": Encoded("mkv", "matroska", "flac", arguments=("-c:a", "flac")),
    "mkv_alac": Encoded("mkv", "matroska", "alac", arguments=("-c:a", "alac")),
    "mkv_pcm": Encoded("mkv", "matroska", "pcm_s16le", arguments=("-c:a", "pcm_s16le")),
    "mkv_aac": Encoded("mkv", "matroska", "aac", arguments=("-c:a", "aac", "-aac_pns", "0")),
    "webm_vorbis": Encoded("webm", "matroska", "vorbis", arguments=("-c:a", "libvorbis")),
    "webm_opus": Encoded("webm", "matroska", "opus", arguments=("-c:a", "libopus"), rate_hz=48_000),
}


# Encoded with noise substitution: the decoder draws the noise, and a segment's differs from the whole decode's.
NOISY = ("m4a_aac", "m4a_aac_faststart", "aac_adts")


def signal(num_samples: int = NUM_SAMPLES, num_channels: int = 2, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Chords with attacks over a little noise, float32 [C, N]: makes codecs switch blocks and fill reservoirs."""
    rng = np.random.default_rng(7)
    t = np.arange(num_samples) / rate_hz
    channels = []
    for c in range(num_channels):
        beat = np.exp(-8 * (t % 0.37))
        tones = sum(np.sin(2 * np.pi * f * (1 + 0.01 * c) * t) for f in (220.0, 277.2, 329.6, 1760.0))
        channels.append(0.12 * beat * tones + 0.02 * rng.standard_normal(num_samples))
    return np.clip(np.stack(channels), -0.99, 0.99).astype(np.float32)


def make(folder: Path, name: str, wav_CN: np.ndarray | None = None) -> Path:
    """Writes the file of format `name`; skips the test where that needs an ffmpeg that is not there."""
    form = FORMATS[name]
    wav_CN = signal(num_channels=form.num_channels, rate_hz=form.rate_hz) if wav_CN is None else wav_CN
    path = folder / f"{name}.{form.suffix}"
    if form.subtype is not None:
        container = {"opus": "OGG"}.get(form.suffix, form.suffix.upper())
        # libsndfile's ogg encoder overflows its stack on long single writes
        with soundfile.SoundFile(
            path, "w", form.rate_hz, wav_CN.shape[0], subtype=form.subtype, format=container
        ) as file:
            for start in range(0, wav_CN.shape[1], 4096):
                file.write(wav_CN[:, start : start + 4096].T)
        return path
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg")
    source = folder / f"{name}.source.wav"
    soundfile.write(source, wav_CN.T, form.rate_hz, subtype=form.source)
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(source), *form.arguments, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory):
    """encoded(name) -> path of a file in that format, made once per session."""
    folder = tmp_path_factory.mktemp("encoded")
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = make(folder, name)
        return made[name]

    return get
