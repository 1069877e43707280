"""Makes the seeds of tests/mutants.rs and of the fuzz targets, which are committed: the mutants are then the same on
every machine, and Rust tests need no encoder. Needs ffmpeg; run as `python rust_loader/tests/seeds/make.py`."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import soundfile

from musicgen_core import native

HERE = Path(__file__).parent
RATE_HZ = 16_000
NUM_SAMPLES = 6_001
NUM_SAMPLES_LOSSLESS = 2_001
MAX_BYTES = 20_000

# Two blocks of words, one of them not ASCII: tag readers are parsers too.
TAGS = ("-metadata", "title=Étude", "-metadata", "artist=A; B", "-metadata", "comment=made for tests")
MADE_BY_FFMPEG = {
    "wav_s16.wav": ("-c:a", "pcm_s16le"),
    "wav_f32.wav": ("-c:a", "pcm_f32le", "-t", "0.06"),
    "wav_f64.wav": ("-c:a", "pcm_f64le", "-t", "0.06"),
    "aifc_s16.aiff": ("-c:a", "pcm_s16le", "-t", "0.06"),
    "wav_adpcm.wav": ("-c:a", "adpcm_ms"),
    "flac.flac": ("-c:a", "flac", "-frame_size", "576", "-metadata_header_padding", "64", *TAGS),
    "alac.m4a": ("-c:a", "alac", *TAGS),
    "vorbis.ogg": ("-c:a", "libvorbis", "-q:a", "0", "-ac", "1", *TAGS),
    "opus.opus": ("-c:a", "libopus", "-b:a", "24k", "-ar", "48000", *TAGS),
    "mp3_lame.mp3": ("-c:a", "libmp3lame", "-q:a", "5", *TAGS),
    "opus_speech.opus": ("-c:a", "libopus", "-b:a", "12k", "-application", "voip", "-ac", "1", "-ar", "48000"),
    "mp2.mp2": ("-c:a", "mp2", "-b:a", "32k", "-ac", "1"),
    "mp3_8000_hz.mp3": ("-c:a", "libmp3lame", "-b:a", "16k", "-ar", "8000"),
    "mp3_no_tag.mp3": ("-c:a", "libmp3lame", "-b:a", "32k", "-write_xing", "0", "-id3v2_version", "0"),
    "aac.m4a": ("-c:a", "aac", "-aac_pns", "0", "-b:a", "48k", *TAGS),
    "aac_faststart.m4a": ("-c:a", "aac", "-aac_pns", "0", "-b:a", "48k", "-movflags", "+faststart"),
    "aac_fragmented.mp4": (
        "-c:a",
        "aac",
        "-aac_pns",
        "0",
        "-b:a",
        "48k",
        "-movflags",
        "empty_moov",
        "-frag_duration",
        "100000",
    ),
    "adts.aac": ("-c:a", "aac", "-aac_pns", "0", "-b:a", "48k"),
    "mkv_flac.mkv": ("-c:a", "flac", "-frame_size", "576", *TAGS),
    "mkv_pcm.mkv": ("-c:a", "pcm_s16le", "-t", "0.06"),
    "mkv_aac.mkv": ("-c:a", "aac", "-aac_pns", "0", "-b:a", "48k"),
    "webm_opus.webm": ("-c:a", "libopus", "-b:a", "24k", "-ar", "48000", *TAGS),
    "webm_vorbis.webm": ("-c:a", "libvorbis", "-q:a", "0", "-ac", "1"),
}
MADE_BY_SOUNDFILE = {
    "wav_u8.wav": ("WAV", "PCM_U8"),
    "wav_s24.wav": ("WAV", "PCM_24"),
    "wav_s32.wav": ("WAV", "PCM_32"),
    "aiff.aiff": ("AIFF", "PCM_16"),
    "aiff_s24.aiff": ("AIFF", "PCM_24"),
}


def signal(num_samples: int) -> np.ndarray:
    """Tones with attacks over a little noise, float32 [N, 2]."""
    t = np.arange(num_samples) / RATE_HZ
    noise = np.random.default_rng(1).standard_normal((num_samples, 2))
    tone = np.exp(-9 * (t % 0.11)) * sum(np.sin(2 * np.pi * hz * t) for hz in (220.0, 277.2, 1760.0))
    return (0.25 * tone[:, None] * [1.0, 0.9] + 0.003 * noise).astype(np.float32)


def token_files(folder: Path) -> None:
    """A shard of two tracks, one array, and an index without its end (the fuzz target adds the digest)."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "a.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for num_frames in (5, 40):
            np.save(folder / "codes.npy", np.arange(4 * num_frames, dtype=np.uint16).reshape(4, num_frames))
            data = (folder / "codes.npy").read_bytes()
            info = tarfile.TarInfo(f"{native.hash_bytes(data)}.codes.npy")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    native.write_token_index(folder / "index.bin", [folder / "a.tar"], "0123456789abcdef" * 2, 2048)
    (folder / "index.bin").write_bytes((folder / "index.bin").read_bytes()[:-16])


def main() -> None:
    token_files(HERE / "tokens")
    # samples as they are make large files, so those formats get fewer
    for name, (container, subtype) in MADE_BY_SOUNDFILE.items():
        soundfile.write(HERE / name, signal(1_001), RATE_HZ, subtype=subtype, format=container)
    source = HERE / "source.wav"
    for name, arguments in MADE_BY_FFMPEG.items():
        large = any(word in name for word in ("wav", "flac", "alac"))
        soundfile.write(source, signal(NUM_SAMPLES_LOSSLESS if large else NUM_SAMPLES), RATE_HZ, subtype="PCM_16")
        command = ["ffmpeg", "-v", "error", "-y", "-i", source, "-map_metadata", "-1", *arguments]
        subprocess.run([*command, "-fflags", "+bitexact", "-flags", "+bitexact", HERE / name], check=True)
    source.unlink()
    for path in sorted(HERE.iterdir()):
        if path.is_file() and path.suffix != ".py":
            print(f"{path.stat().st_size:6d} {path.name}")
            assert path.stat().st_size <= MAX_BYTES, path.name


if __name__ == "__main__":
    main()
