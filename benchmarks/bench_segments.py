"""A random 10 s segment, 44.1 kHz stereo to 32 kHz mono, opening included: `python benchmarks/bench_segments.py`.

Claims: exact, and still ahead of sphn and torchcodec on every format they read (WAV: 1.5 times), and at least 4 times
as fast as PyAV + julius, which is what AudioCraft does. All readers take turns segment by segment in one process, one
thread each: first a file that no reader has read before (ours then learns where its samples lie), then the same file
at many places. `--more` adds less usual formats. Peers: `pip install -r benchmarks/requirements.txt`; torchcodec also
needs ffmpeg's libraries.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
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
from encoded import ENCODERS, MORE_ENCODERS, write_tracks
from torchcodec.decoders import AudioDecoder
from turns import take_turns

from musicgen_core import native

TARGET_HZ, SEGMENT_SEC, TRACK_SEC = 32_000, 10, 180
Reader = Callable[[Path, float], object]


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


def find_readers(path: Path) -> dict[str, Reader]:
    """Those that read this file."""
    found: dict[str, Reader] = {}
    for name, read in READERS.items():
        try:
            wav = np.asarray(read(path, 20.0))
        except Exception as error:  # a peer that does not read this format
            print(f"    {name} does not read {path.name}: {str(error).splitlines()[0][:80]}")
            continue
        if abs(wav.shape[-1] - SEGMENT_SEC * TARGET_HZ) > 0.01 * SEGMENT_SEC * TARGET_HZ:
            print(f"    {name} returns {wav.shape[-1]} samples of {path.name}")
            continue
        found[name] = read
    return found


def median_ms(readers: dict[str, Reader], paths: list[Path], starts_sec: np.ndarray) -> dict[str, float]:
    """Median time of each reader; they take turns. Segment n is of file n, or of the only one."""
    reading = {
        name: lambda number, read=read: read(paths[number % len(paths)], float(starts_sec[number]))
        for name, read in readers.items()
    }
    times = take_turns(reading, len(starts_sec), warm_up=0)
    return {name: 1e3 * statistics.median(values) for name, values in times.items()}


def show(name: str, found: dict[str, float]) -> None:
    cells = [f"{found[peer]:8.2f} ({found[peer] / found['ours']:5.2f}x)" if peer in found else "-" for peer in READERS]
    print(f"{name:17}" + "".join(f"{cell:>22}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--more", action="store_true", help="less usual formats, too")
    parser.add_argument("--track-sec", type=int, default=TRACK_SEC, help="length of the track")
    record.add_flag(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    starts_sec = np.random.default_rng(1).uniform(0, arguments.track_sec - SEGMENT_SEC - 1, arguments.rounds)
    first, again = {}, {}
    print(f"{'ms (ratio)':17}" + "".join(f"{name:>22}" for name in READERS))
    with tempfile.TemporaryDirectory() as folder:
        encoders = {**ENCODERS, **(MORE_ENCODERS if arguments.more else {})}
        for name, path in write_tracks(Path(folder), encoders, arguments.track_sec).items():
            readers = find_readers(path)
            copies = [Path(shutil.copy(path, path.with_name(f"{n} {path.name}"))) for n in range(arguments.rounds)]
            first[name] = median_ms(readers, copies, starts_sec)
            show(f"{name}, first", first[name])
            for copy in copies:
                copy.unlink()
            again[name] = median_ms(readers, [path], starts_sec)
            show(name, again[name])
    record.write(arguments, "segments", {"first_ms": first, "median_ms": again, "rounds": arguments.rounds})


if __name__ == "__main__":
    main()
