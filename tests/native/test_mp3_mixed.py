"""Mixed blocks of MPEG audio, layer III, which encoders hardly make: written bit by bit, read by us and by ffmpeg."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from musicgen_core import native

PAIRS = {(0, 0): "1", (0, 1): "001", (1, 0): "01", (1, 1): "000"}  # ISO/IEC 11172-3, Table B.7, table 1
LONG, START, SHORT, STOP = range(4)


def granule(rng: np.random.Generator, block: int, mixed: bool) -> tuple[str, str]:
    """(side information, main data) of 576 lines of -1, 0 and 1."""
    num_factors = {LONG: 21, START: 21, STOP: 21, SHORT: 35 if mixed else 36}[block]
    data = "".join(rng.choice(["0", "1"], num_factors))  # scalefac_compress 5: a bit each
    for pair in rng.choice([0, 0, 0, 1], (288, 2)):
        data += PAIRS[tuple(int(x) for x in pair)] + "".join(rng.choice(["0", "1"], pair.sum()))
    side = f"{len(data):012b}{288:09b}{int(rng.integers(170, 185)):08b}{5:04b}"
    if block == LONG:
        side += "0" + "00001" * 3 + "0111" + "111"
    else:
        gains = "".join(f"{int(gain):03b}" for gain in rng.integers(0, 3, 3)) if block == SHORT else "000" * 3
        side += "1" + f"{block:02b}" + str(int(mixed)) + "00001" * 2 + gains
    return side + "0" + str(int(rng.integers(2))) + "0", data


def stream(seed: int, blocks: list[tuple[int, bool]]) -> bytes:
    """Frames of 320 kb/s, 44.1 kHz, mono, two blocks each, the bit reservoir unused."""
    rng = np.random.default_rng(seed)
    frames = b""
    for i in range(0, len(blocks), 2):
        (first, data_0), (second, data_1) = (granule(rng, *block) for block in blocks[i : i + 2])
        bits = "0" * 18 + first + second + data_0 + data_1
        head = bytes.fromhex("fffbe0c0")
        body = int(bits.ljust(8 * (1044 - len(head)), "0"), 2).to_bytes(1044 - len(head), "big")
        frames += head + body
    return frames


@pytest.mark.parametrize(
    "blocks",
    [
        [(SHORT, True)] * 24,
        [(LONG, False), (START, False), (SHORT, True), (SHORT, True), (STOP, False), (LONG, False)] * 4,
        [(LONG, False), (START, False), (SHORT, False), (SHORT, False), (STOP, False), (LONG, False)] * 4,
    ],
    ids=["mixed", "between long blocks", "short between long blocks"],
)
def test_blocks_are_what_ffmpeg_makes_of_them(tmp_path, blocks):
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg")
    path = tmp_path / "blocks.mp3"
    path.write_bytes(stream(1, blocks))
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "f32le", "-c:a", "pcm_f32le", "-"]
    expected_N = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.float32)
    wav_CN, rate_hz = native.decode(path)
    assert (rate_hz, wav_CN.shape) == (44_100, (1, 576 * len(blocks)))
    shift = min(range(0, 2400), key=lambda shift: error_after(wav_CN[0], expected_N, shift))
    assert error_after(wav_CN[0], expected_N, shift) < 1e-5 * np.abs(expected_N).max()


def error_after(found_N: np.ndarray, expected_N: np.ndarray, shift: int) -> float:
    """Largest difference where ffmpeg leaves out the first `shift` samples."""
    length = min(len(found_N) - shift, len(expected_N))
    return float(np.abs(found_N[shift : shift + length] - expected_N[:length]).max())
