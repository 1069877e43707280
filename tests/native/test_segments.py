"""A segment is the slice of the whole decode, to the bit, for every format and wherever it lies."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicgen_core import native

from .conftest import FORMATS, NOISY, NUM_SAMPLES, make, signal

positions = st.one_of(
    st.integers(0, NUM_SAMPLES + 5000),
    st.sampled_from([0, 1, 1151, 1152, 8191, 8192, 8193, 36_863, 36_864, 36_865, NUM_SAMPLES - 1, NUM_SAMPLES]),
)
lengths = st.one_of(st.integers(0, 40_000), st.sampled_from([0, 1, 2, NUM_SAMPLES, 1 << 40]))


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=positions, length=lengths)
def test_segment_is_the_slice_of_the_whole(encoded, whole, name, start, length):
    expected, expected_hz = whole(name)
    segment, rate_hz = native.decode_segment(encoded(name), start, length, from_start=name in NOISY)
    assert rate_hz == expected_hz
    expected = expected[:, start : start + length]
    assert segment.shape == expected.shape
    assert segment.tobytes() == expected.tobytes()


@pytest.fixture(scope="module")
def whole(encoded):
    """whole(name) -> the whole decode, made once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = native.decode(encoded(name))
        return made[name]

    return get


@pytest.mark.parametrize("name", [n for n in FORMATS if n not in NOISY])
def test_first_and_last_samples(encoded, whole, name):
    expected, _ = whole(name)
    last = expected.shape[1] - 1
    for start, length in ((0, 1), (last, 1), (last, 9), (last - 2000, 4000), (last + 1, 1), (last // 2, 0)):
        segment, _ = native.decode_segment(encoded(name), start, length)
        assert segment.tobytes() == expected[:, start : start + length].tobytes()


@pytest.mark.parametrize("name", NOISY)
def test_noise_substitution_differs_by_noise_only(encoded, whole, name):
    """Two draws of noise differ by at most the square root of 2 of its level, 0.02 in the test signal."""
    expected, _ = whole(name)
    for start in range(20_000, 130_000, 9973):
        segment, _ = native.decode_segment(encoded(name), start, 8000)
        piece = expected[:, start : start + 8000]
        assert segment.shape == piece.shape
        assert np.abs(segment - piece).max() < 0.2
        assert np.sqrt(np.mean((segment - piece) ** 2)) < 0.03
        assert np.mean(segment**2) == pytest.approx(np.mean(piece**2), rel=0.1)


@pytest.mark.parametrize("name", ["flac_s16", "vorbis", "mp3_vbr", "m4a_alac", "m4a_aac_plain", "opus", "opus_short"])
def test_long_files(tmp_path, name):
    """Two minutes: many pages, many frames, and seeks that go far."""
    path = make(tmp_path, name, np.tile(signal(441_000, 1), (1, 12)))
    check_random_seconds(path)


@pytest.mark.parametrize("name", ["vorbis_ffmpeg", "webm_opus", "aac_adts_plain", "m4a_aac_plain", "webm_vorbis"])
def test_an_hour(tmp_path, name):
    """Half a minute of telephone quality, encoded once and copied 120 times over: at every seam time stamps jump and
    padding stays inside. (Ten minutes of Opus, which decodes to 48 kHz whatever it was.)"""
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg")
    form, rate_hz = FORMATS[name], 8000
    source, piece, path = tmp_path / "source.wav", tmp_path / f"piece.{form.suffix}", tmp_path / f"hour.{form.suffix}"
    soundfile.write(source, signal(30 * rate_hz, 1, rate_hz).T, rate_hz, subtype="PCM_16")
    copies = "19" if form.codec == "opus" else "119"
    encode = ["-i", str(source), *form.arguments, "-ar", "48000" if form.codec == "opus" else str(rate_hz), str(piece)]
    for arguments in (encode, ["-stream_loop", copies, "-i", str(piece), "-c", "copy", str(path)]):
        subprocess.run(["ffmpeg", "-v", "error", *arguments], check=True, stdin=subprocess.DEVNULL)
    check_random_seconds(path)


def check_random_seconds(path):
    whole, rate_hz = native.decode(path)
    rng = np.random.default_rng(3)
    for start in rng.integers(0, whole.shape[1] - rate_hz, 20):
        segment, _ = native.decode_segment(path, int(start), rate_hz)
        assert segment.tobytes() == whole[:, start : start + rate_hz].tobytes()


@pytest.mark.parametrize("bit_rate", ["24k", "96k"])
def test_opus_after_silence(tmp_path, bit_rate):
    """In silence libopus rests on denormal numbers, which tell how long it lasts. One channel is always silent."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg")
    rate_hz = 48_000
    wav_CN = signal(24 * rate_hz, 2, rate_hz)
    wav_CN[:, (np.arange(24 * rate_hz) // rate_hz) % 8 >= 3] = 0
    wav_CN[1] = 0
    soundfile.write(tmp_path / "x.wav", wav_CN.T, rate_hz, subtype="PCM_16")
    path = tmp_path / "x.opus"
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "x.wav"), "-c:a", "libopus", "-b:a", bit_rate, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    whole, _ = native.decode(path)
    for start in range(3000, 24 * rate_hz, rate_hz // 2 + 7):
        segment, _ = native.decode_segment(path, start, 20_000)
        assert segment.tobytes() == whole[:, start : start + 20_000].tobytes()


@pytest.mark.parametrize("name", ["wav_s16", "vorbis", "aac_adts_plain", "webm_opus"])
def test_a_file_that_was_replaced_is_learnt_anew(encoded, tmp_path, name):
    path, other_folder = tmp_path / encoded(name).name, tmp_path / "other"
    other_folder.mkdir()
    other = make(other_folder, name, signal(90_000, 1, FORMATS[name].rate_hz)).read_bytes()
    for data in (encoded(name).read_bytes(), other, encoded(name).read_bytes()):
        path.write_bytes(data)
        whole, _ = native.decode(path)
        for start in (50_000, 80_000):
            segment, _ = native.decode_segment(path, start, 4000)
            assert segment.tobytes() == whole[:, start : start + 4000].tobytes()


def test_neighbours_meet(encoded, whole):
    """Segments that follow each other give the whole, however their edges are rounded from seconds."""
    expected, rate_hz = whole("vorbis")
    edges = [round(i * 0.3337 * rate_hz) for i in range(9)]
    pieces = [native.decode_segment(encoded("vorbis"), a, b - a)[0] for a, b in pairwise(edges)]
    assert np.concatenate(pieces, axis=1).tobytes() == expected[:, : edges[-1]].tobytes()


def test_beyond_the_end(encoded):
    for name in ("wav_s16", "mp3", "opus"):
        assert native.decode_segment(encoded(name), NUM_SAMPLES, 10)[0].shape == (2, 0)
        assert native.decode_segment(encoded(name), 10**15, 10)[0].shape == (2, 0)
        assert native.decode_segment(encoded(name), NUM_SAMPLES - 3, 10)[0].shape == (2, 3)


def test_negative_arguments(encoded):
    with pytest.raises(ValueError, match="start_samples is -1"):
        native.decode_segment(encoded("wav_s16"), -1, 10)
    with pytest.raises(ValueError, match="num_samples is -5"):
        native.decode_segment(encoded("wav_s16"), 1, -5)
