"""A random 10 s segment, 44.1 kHz stereo to 32 kHz mono, opening included: `python benchmarks/bench_segments.py`.

Claims: exact, and still ahead of sphn and torchcodec on every format they read (WAV: 1.5 times), and at least 4 times
as fast as PyAV + julius, which is what AudioCraft does. All readers take turns segment by segment in one process, one
thread each. Peers: `pip install -r benchmarks/requirements.txt`; torchcodec also needs ffmpeg's libraries.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import av
import julius
import numpy as np
import record
import soundfile
import sphn
import torch
from torchcodec.decoders import AudioDecoder
from turns import take_turns

from musicgen_core import native

RATE_HZ, TARGET_HZ, SEGMENT_SEC, TRACK_SEC = 44_100, 32_000, 10, 180
ENCODERS = {
    "wav": ("wav", ["-c:a", "pcm_s16le"]),
    "flac": ("flac", []),
    "mp3-192k": ("mp3", ["-b:a", "192k"]),
    "mp3-V2": ("mp3", ["-q:a", "2"]),
    "ogg": ("ogg", ["-c:a", "libvorbis", "-q:a", "5"]),
    "m4a": ("m4a", ["-c:a", "aac", "-b:a", "160k"]),
    "opus": ("opus", ["-c:a", "libopus", "-b:a", "128k"]),
}
Reader = Callable[[Path, float], object]


def write_tracks(folder: Path) -> dict[str, Path]:
    """One track of chords, a melody and noise, in each format."""
    t = np.arange(RATE_HZ * TRACK_SEC) / RATE_HZ
    melody_hz = np.random.default_rng(1).choice([440, 495, 554, 659, 740], TRACK_SEC * 4)[(t * 4).astype(int)]
    phase = 2 * np.pi * np.cumsum(melody_hz) / RATE_HZ
    chords = sum(np.sin(2 * np.pi * f * t) for f in (220.0, 277.2, 329.6)) * np.exp(-4 * (t % 0.5))
    left = 0.15 * chords + 0.1 * np.sign(np.sin(phase))
    noise_NC = np.random.default_rng(0).standard_normal((len(t), 2)) * 0.02
    wav_NC = np.stack([left, 0.8 * np.roll(left, 300)], 1) + noise_NC
    source = folder / "source.wav"
    soundfile.write(source, wav_NC, RATE_HZ, subtype="PCM_24")
    paths = {}
    for name, (suffix, flags) in ENCODERS.items():
        paths[name] = folder / f"{name}.{suffix}"
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, *flags, paths[name]], check=True)
    return paths


def ours(path: Path, start_sec: float) -> np.ndarray:
    start, length = int(start_sec * TARGET_HZ), SEGMENT_SEC * TARGET_HZ
    return native.read_segment(path, start, length, sample_rate_hz=TARGET_HZ, num_channels=1)


def by_soundfile(path: Path, start_sec: float) -> torch.Tensor:
    with soundfile.SoundFile(path) as file:
        file.seek(int(start_sec * file.samplerate))
        wav_CN = torch.from_numpy(file.read(SEGMENT_SEC * file.samplerate, dtype="float32").T)
        return julius.resample_frac(wav_CN, file.samplerate, TARGET_HZ).mean(0, keepdim=True)  # AudioCraft's order


def by_pyav(path: Path, start_sec: float) -> torch.Tensor:
    """As AudioCraft reads: seek to a key frame before, decode frame by frame, cut, resample, mix."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate_hz, wanted = stream.codec_context.sample_rate, SEGMENT_SEC * stream.codec_context.sample_rate
        container.seek(int(start_sec / stream.time_base), stream=stream)
        pieces, have = [], 0
        for frame in container.decode(streams=stream.index):
            piece_CN = torch.from_numpy(frame.to_ndarray())
            if piece_CN.shape[0] != stream.codec_context.channels:  # packed samples
                piece_CN = piece_CN.view(-1, stream.codec_context.channels).t()
            if not pieces:
                piece_CN = piece_CN[:, max(0, int((start_sec - frame.time) * rate_hz)) :]
            pieces.append(piece_CN)
            have += piece_CN.shape[1]
            if have >= wanted:
                break
        wav_CN = torch.cat(pieces, 1)[:, :wanted]
        if not wav_CN.dtype.is_floating_point:
            wav_CN = wav_CN.float() / (1 << (8 * wav_CN.element_size() - 1))
    return julius.resample_frac(wav_CN, rate_hz, TARGET_HZ).mean(0, keepdim=True)


def by_sphn(path: Path, start_sec: float) -> np.ndarray:
    reader = sphn.FileReader(str(path))
    wav_CN = reader.decode(start_sec, SEGMENT_SEC)
    return sphn.resample(wav_CN.mean(0, keepdims=True), reader.sample_rate, TARGET_HZ)


def by_torchcodec(path: Path, start_sec: float) -> torch.Tensor:
    decoder = AudioDecoder(path, sample_rate=TARGET_HZ, num_channels=1)
    return decoder.get_samples_played_in_range(start_sec, start_sec + SEGMENT_SEC).data


READERS: dict[str, Reader] = {
    "ours": ours,
    "sphn": by_sphn,
    "torchcodec": by_torchcodec,
    "PyAV + julius": by_pyav,
    "soundfile + julius": by_soundfile,
}


def median_ms(path: Path, starts_sec: np.ndarray) -> dict[str, float]:
    """Median time of each reader that reads this file; they take turns."""
    reading: dict[str, Callable[[int], object]] = {}
    for name, read in READERS.items():
        try:
            found = np.asarray(read(path, 20.0))
        except Exception as error:  # a peer that does not read this format
            print(f"    {name} does not read {path.name}: {str(error).splitlines()[0][:80]}")
            continue
        if abs(found.shape[-1] - SEGMENT_SEC * TARGET_HZ) > 0.01 * SEGMENT_SEC * TARGET_HZ:
            print(f"    {name} returns {found.shape[-1]} samples of {path.name}")
            continue
        reading[name] = lambda number, read=read: read(path, float(starts_sec[number]))
    times = take_turns(reading, len(starts_sec), warm_up=0)
    return {name: 1e3 * statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    record.add_flag(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    starts_sec = np.random.default_rng(1).uniform(0, TRACK_SEC - SEGMENT_SEC - 1, arguments.rounds)
    rows = {}
    print(f"{'ms (ratio)':12}" + "".join(f"{name:>22}" for name in READERS))
    with tempfile.TemporaryDirectory() as folder:
        for name, path in write_tracks(Path(folder)).items():
            rows[name] = found = median_ms(path, starts_sec)
            cells = [
                f"{found[peer]:8.2f} ({found[peer] / found['ours']:5.2f}x)" if peer in found else "-"
                for peer in READERS
            ]
            print(f"{name:12}" + "".join(f"{cell:>22}" for cell in cells), flush=True)
    record.write(arguments, "segments", {"median_ms": rows, "rounds": arguments.rounds})


if __name__ == "__main__":
    main()
