"""MPEG audio files of many kinds: by ffmpeg's encoders, and taken apart and put together again frame by frame."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from .conftest import signal

MP3 = ("-c:a", "libmp3lame")
BARE = ("-write_xing", "0", "-id3v2_version", "0")

# name: (arguments of ffmpeg, rate in Hz, channels)
ENCODED: dict[str, tuple[tuple[str, ...], int, int]] = {
    "cbr_320": ((*MP3, "-b:a", "320k"), 48_000, 2),
    "cbr_192": ((*MP3, "-b:a", "192k"), 44_100, 2),
    "cbr_128_left_right": ((*MP3, "-b:a", "128k", "-joint_stereo", "0"), 44_100, 2),
    "cbr_128_no_reservoir": ((*MP3, "-b:a", "128k", "-reservoir", "0"), 44_100, 2),
    "cbr_32_mono": ((*MP3, "-b:a", "32k"), 32_000, 1),
    "vbr_0": ((*MP3, "-q:a", "0"), 44_100, 2),
    "vbr_9": ((*MP3, "-q:a", "9"), 44_100, 2),
    "abr": ((*MP3, "-abr", "1", "-b:a", "140k", "-write_id3v1", "1", "-metadata", "title=x"), 44_100, 2),
    "mpeg2_8_mono": ((*MP3, "-b:a", "8k"), 24_000, 1),
    "mpeg2_64": ((*MP3, "-b:a", "64k"), 22_050, 2),
    "mpeg2_vbr": ((*MP3, "-q:a", "5"), 16_000, 2),
    "mpeg25_8_mono": ((*MP3, "-b:a", "8k"), 8_000, 1),
    "mpeg25_32": ((*MP3, "-b:a", "32k"), 12_000, 2),
    "bare_cbr": ((*MP3, "-b:a", "128k", *BARE), 44_100, 2),
    "bare_vbr": ((*MP3, "-q:a", "3", *BARE), 44_100, 2),
    "bare_mpeg25": ((*MP3, "-b:a", "16k", *BARE), 11_025, 1),
    "layer2": (("-c:a", "mp2", "-b:a", "192k"), 48_000, 2),
    "layer2_mpeg2_mono": (("-c:a", "mp2", "-b:a", "64k"), 22_050, 1),
}


def encode(path: Path, arguments: tuple[str, ...], wav_CN: np.ndarray, rate_hz: int) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg")
    source = path.with_suffix(".source.wav")
    soundfile.write(source, wav_CN.T, rate_hz, subtype="PCM_16")
    form = ("-f", "mp2" if "mp2" in arguments else "mp3")
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(source), *arguments, *form, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    source.unlink()


def frames(data: bytes) -> list[bytes]:
    """The frames of a layer III file without tags or junk: a plain reading of ISO/IEC 11172-3, 2.4.2.3."""
    high = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    low = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    found, at = [], 0
    while at < len(data):
        word = int.from_bytes(data[at : at + 4], "big")
        assert word >> 21 == 0x7FF, at
        version = word >> 19 & 3
        rate_hz = (44_100, 48_000, 32_000)[word >> 10 & 3] >> {3: 0, 2: 1, 0: 2}[version]
        kbits = (high if version == 3 else low)[(word >> 12 & 15) - 1]
        length = (144_000 if version == 3 else 72_000) * kbits // rate_hz + (word >> 9 & 1)
        found.append(data[at : at + length])
        at += length
    assert at == len(data)
    return found


def id3v2(size: int) -> bytes:
    """A tag as large as a picture makes it, full of what looks like the beginning of frames."""
    size_7bit = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size_7bit + (b"\xff\xfb\x90\x64" * (size // 4 + 1))[:size]


def ape_tag(size: int) -> bytes:
    ends = [b"APETAGEX" + struct.pack("<IIII8x", 2000, size + 32, 1, flags) for flags in (0xA000_0000, 0x8000_0000)]
    return ends[0] + bytes(size) + ends[1]


def vbri(first: bytes, num_frames: int, num_bytes: int) -> bytes:
    """A frame as Fraunhofer's encoder puts in front; `first` lends its header."""
    tag = b"VBRI" + struct.pack(">HHHII", 1, 0, 75, num_bytes + len(first), num_frames)
    return (first[:4] + bytes(32) + tag).ljust(len(first), b"\0")


def xing(first: bytes, num_frames: int) -> bytes:
    """A frame as Xing's encoder puts in front, of a stereo MPEG-1 file: a count of frames, nothing of gaps."""
    return (first[:4] + bytes(32) + b"Xing" + struct.pack(">II", 1, num_frames)).ljust(len(first), b"\0")


def junk_between(parts: list[bytes]) -> bytes:
    """Words, zeros, a tag and a false start after every 17th frame."""
    junk = (b"nothing of the kind " * 20, bytes(777), id3v2(3000), b" " + parts[0][:4] + b"a lonely header" * 40)
    return b"".join(
        part + (junk[number // 17 % 4] if number % 17 == 16 and number + 1 < len(parts) else b"")
        for number, part in enumerate(parts)
    )


# name: (made of the bytes of which encoded file, how, whether the samples stay as they were)
MADE: dict[str, tuple[str, Callable[[bytes], bytes], bool]] = {
    "picture_and_tags_behind": (
        "bare_vbr",
        lambda data: id3v2(2_000_000) + data + ape_tag(5000) + b"TAG" + bytes(125),
        True,
    ),
    "zeros_in_front": ("bare_vbr", lambda data: id3v2(100) + bytes(5000) + data, True),
    "words_in_front": ("bare_cbr", lambda data: b"words, not music. " * 200 + data, True),
    "zeros_behind": ("bare_cbr", lambda data: data + bytes(3000), True),
    "junk_between": ("bare_cbr", lambda data: junk_between(frames(data)), True),
    "junk_between_mpeg25": ("bare_mpeg25", lambda data: junk_between(frames(data)), True),
    "fraunhofer": ("bare_vbr", lambda data: vbri(frames(data)[1], len(frames(data)), len(data)) + data, True),
    "xing_alone": ("bare_vbr", lambda data: xing(frames(data)[1], len(frames(data))) + data, True),
    "begins_midway": ("bare_cbr", lambda data: b"".join(frames(data)[37:]), False),
    "begins_within_a_frame": ("bare_vbr", lambda data: b"".join(frames(data)[37:])[100:], False),
    "spliced": ("bare_cbr", lambda data: b"".join(frames(data)[:50] + frames(data)[70:]), False),
    "joined": ("vbr_0", lambda data: data + data, False),
}


@pytest.fixture(scope="session")
def mpeg(tmp_path_factory: pytest.TempPathFactory):
    """mpeg(name) -> path of a file of 100,001 samples (before encoding), made once per session."""
    folder = tmp_path_factory.mktemp("mpeg")

    def get(name: str) -> Path:
        path = folder / f"{name}.mp3"
        if not path.exists() and name in ENCODED:
            arguments, rate_hz, num_channels = ENCODED[name]
            encode(path, arguments, signal(100_001, num_channels, rate_hz), rate_hz)
        elif not path.exists():
            base, change, _ = MADE[name]
            path.write_bytes(change(get(base).read_bytes()))
        return path

    return get
