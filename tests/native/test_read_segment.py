"""A segment at another rate is the slice of the whole file at that rate, to the bit."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicgen_core import native

from .conftest import FORMATS, NOISY, signal

COMMON_HZ = [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000]
PRIMES_HZ = [7, 997, 8_191, 15_991, 44_101, 47_981]
rates_hz = st.sampled_from([*COMMON_HZ, *PRIMES_HZ])


def at_rate(wav_CN, from_hz, to_hz, num_channels, preset="julius24"):
    return native.resample(native.mix(wav_CN, num_channels), from_hz, to_hz, preset)


def same(found, expected):
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), from_hz=rates_hz, to_hz=rates_hz, preset=st.sampled_from(["julius24", "hq"]))
def test_any_pair_of_rates(tmp_path, data, from_hz, to_hz, preset):
    """Both ends in reach, one, or none; nothing but the rates decides how many samples there are."""
    num_samples = data.draw(st.one_of(st.integers(1, 400), st.sampled_from([30_000, 60_000])), "num_samples")
    num_samples = min(num_samples, 1 + 300_000 * from_hz // to_hz)
    channels = data.draw(st.integers(1, 2), "channels")
    wav_CN = signal(num_samples, channels)
    path = tmp_path / "f32.wav"
    soundfile.write(path, wav_CN.T, from_hz, subtype="FLOAT")
    whole = at_rate(wav_CN, from_hz, to_hz, channels, preset)
    assert whole.shape[1] == num_samples * to_hz // from_hz
    for _ in range(4):
        start = data.draw(st.integers(0, whole.shape[1] + 3), "start")
        count = data.draw(st.one_of(st.integers(0, whole.shape[1] + 3), st.just(1 << 40)), "count")
        found = native.read_segment(path, start, count, sample_rate_hz=to_hz, num_channels=channels, preset=preset)
        same(found, whole[:, start : start + count])


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in NOISY])
def test_every_format(encoded, name):
    path = encoded(name)
    wav_CN, from_hz = native.decode(path)
    whole = at_rate(wav_CN, from_hz, 32_000, 1)
    for start, count in [(0, 500), (40_001, 16_000), (whole.shape[1] - 700, 1000), (whole.shape[1], 10), (1 << 62, 10)]:
        found = native.read_segment(path, start, count, sample_rate_hz=32_000, num_channels=1)
        same(found, whole[:, start : start + count])


@pytest.mark.parametrize("name", ["wav_s16", "flac_s16", "mp3_vbr", "vorbis", "m4a_aac_plain", "webm_opus"])
def test_more_samples_than_any_file_has(encoded, name):
    """What "to the end" is written as: all of it, as `decode_segment` gives it."""
    path = encoded(name)
    wav_CN, from_hz = native.decode(path)
    for count in (1 << 40, 1 << 60, (1 << 61) - 1, 1 << 61, 1 << 62, sys.maxsize):
        for to_hz in (from_hz, 8_000):
            found = native.read_segment(path, 10_000, count, sample_rate_hz=to_hz, num_channels=1)
            same(found, at_rate(wav_CN, from_hz, to_hz, 1)[:, 10_000:])
        same(native.decode_segment(path, 10_000, count)[0], wav_CN[:, 10_000:])


def test_channels_follow_mix(encoded):
    stereo, mono = encoded("wav_s16"), encoded("mp3_32k_mono")
    for path, num_channels in [(stereo, 1), (stereo, 2), (mono, 1), (mono, 2)]:
        wav_CN, from_hz = native.decode(path)
        expected = at_rate(wav_CN, from_hz, 24_000, num_channels)[:, 1000:3000]
        same(native.read_segment(path, 1000, 2000, sample_rate_hz=24_000, num_channels=num_channels), expected)


def test_without_resampling_it_is_the_decode(encoded):
    for name in ("wav_f32", "flac_s24", "vorbis"):
        wav_CN, rate_hz = native.decode(encoded(name))
        found = native.read_segment(encoded(name), 149_000, 5000, sample_rate_hz=rate_hz, num_channels=2)
        same(found, wav_CN[:, 149_000:])


def test_bytes_and_a_buffer_of_the_caller(encoded):
    path = encoded("flac_s16")
    expected = native.read_segment(path, 100_000, 20_000, sample_rate_hz=32_000, num_channels=1)
    assert 0 < expected.shape[1] < 20_000
    batch = np.full((3, 1, 20_000), np.nan, np.float32)
    found = native.read_segment(path.read_bytes(), 100_000, 20_000, sample_rate_hz=32_000, num_channels=1, out=batch[1])
    assert np.shares_memory(found, batch)
    same(found, expected)
    assert np.isnan(batch[[0, 2]]).all()
    assert not batch[1, :, expected.shape[1] :].any()


def test_refusals(encoded, tmp_path):
    path = encoded("wav_s16")

    def read(start=0, count=10, rate_hz=32_000, channels=1, source=path, **more):
        return native.read_segment(source, start, count, sample_rate_hz=rate_hz, num_channels=channels, **more)

    with pytest.raises(ValueError, match="start_samples is -1"):
        read(start=-1)
    with pytest.raises(ValueError, match="num_samples is -2"):
        read(count=-2)
    with pytest.raises(ValueError, match=r"wav_s16.wav: cannot make 3 channels of 2; choose 1, or at most 2"):
        read(channels=3)
    with pytest.raises(ValueError, match="num_channels is 0"):
        read(channels=0)
    with pytest.raises(ValueError, match="to_hz is 768001"):
        read(rate_hz=768_001)
    with pytest.raises(ValueError, match="there are julius24 and hq"):
        read(preset="soxr")
    with pytest.raises(native.LimitError, match="filter taps"):
        read(rate_hz=767_999)
    with pytest.raises(FileNotFoundError):
        read(source=tmp_path / "none.wav")
    with pytest.raises(native.UnsupportedAudioError, match="<4 bytes>"):
        read(source=b"junk")
    for out in (np.zeros((1, 9), np.float32), np.zeros((1, 10)), np.zeros((1, 20), np.float32)[:, ::2]):
        with pytest.raises(ValueError, match=r"C-contiguous float32 \[1, 10\]"):
            read(out=out)


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in NOISY])
def test_a_file_inside_another(encoded, tmp_path, name):
    """As a member of a tar: between bytes that are audio, too, and none of its own."""
    path = encoded(name)
    data, junk = path.read_bytes(), encoded("flac_s16").read_bytes()[:5000]
    whole = tmp_path / "whole.tar"
    whole.write_bytes(junk + data + junk)
    place = (len(junk), len(data))
    wav_CN, from_hz = native.decode(path)
    length = wav_CN.shape[1] * 32_000 // from_hz
    for start, count in [(0, 500), (length // 2, 9_000), (length - 700, 1000), (length, 10)]:
        options = {"sample_rate_hz": 32_000, "num_channels": 1}
        found = native.read_segment(whole, start, count, byte_range=place, **options)
        same(found, native.read_segment(path, start, count, **options))


def test_a_byte_range_that_does_not_fit(encoded, tmp_path):
    path = encoded("flac_s16")
    options = {"sample_rate_hz": 32_000, "num_channels": 1}
    size = path.stat().st_size
    with pytest.raises(native.CorruptAudioError, match=rf"song: {size} bytes at 1 of .*, which has {size}: cut short"):
        native.read_segment(path, 0, 10, byte_range=(1, size), name="song", **options)
    with pytest.raises(native.CorruptAudioError, match=r"cut short"):
        native.read_segment(path, 0, 10, byte_range=(2**63 - 1, 2**63 - 1), **options)
    with pytest.raises(native.AudioError, match=rf"{path}, {size // 2} bytes at 0: "):
        native.read_segment(path, 40_000, 20_000, byte_range=(0, size // 2), **options)
    with pytest.raises(ValueError, match=r"byte_range \(-1, 5\): needs a path, an offset and a number of bytes"):
        native.read_segment(path, 0, 10, byte_range=(-1, 5), **options)
    with pytest.raises(ValueError, match="needs a path"):
        native.read_segment(path.read_bytes(), 0, 10, byte_range=(0, 5), **options)
