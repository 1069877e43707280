"""Any numbers as arguments of the native functions: a result of the documented shape, or an error that a caller can
catch as ValueError (wrong), OverflowError (no 64-bit number) or MemoryError (too much)."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from musicgen_core import native

from .conftest import signal
from .test_token_shards import CARD, CODEC, shard

REFUSED = (ValueError, OverflowError, MemoryError, KeyError)
EDGES = [
    0,
    1,
    -1,
    31,
    2**15,
    2**16,
    768_000,
    768_001,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
]
anything = st.one_of(st.sampled_from(EDGES), st.integers(-(2**70), 2**70), st.integers(-10, 100_000))
some = settings(max_examples=300, deadline=None)
WAV_CN = signal(700)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    native.write_token_index(folder / "index.bin", [shard(folder / "a.tar", range(4))], CODEC, CARD)
    return native.TokenShards(folder / "index.bin")


@pytest.fixture(scope="module")
def wav_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("wav") / "x.wav"
    soundfile.write(path, WAV_CN.T, 44_100)
    return path


@given(from_hz=anything, to_hz=anything)
@some
def test_resample(from_hz, to_hz):
    try:
        out_CM = native.resample(WAV_CN[:, :40], from_hz, to_hz)
    except REFUSED:
        return
    assert out_CM.shape == (2, 40 * to_hz // from_hz)


@given(rate_hz=anything)
@some
def test_measure(rate_hz):
    try:
        found = native.measure(WAV_CN, rate_hz)
    except REFUSED:
        return
    assert 0 <= found.rms <= found.peak


@given(threshold=st.floats())
@some
def test_sound_bounds(threshold):
    start, end = native.sound_bounds(WAV_CN, threshold)
    assert 0 <= start <= end <= 700


@given(start=anything, count=anything)
@some
def test_decode_segment(wav_file, start, count):
    try:
        wav_CN, _ = native.decode_segment(wav_file, start, count)
    except REFUSED:
        return
    np.testing.assert_array_equal(wav_CN, native.decode(wav_file)[0][:, start : start + count])


@given(track=anything, start=anything, num_frames=st.one_of(st.none(), anything))
@some
def test_read(tokens, track, start, num_frames):
    try:
        codes_KT = tokens.read(track, start, num_frames)
    except REFUSED:
        return
    end = None if num_frames is None else start + num_frames
    np.testing.assert_array_equal(codes_KT, tokens.read(track)[:, start:end])


@pytest.mark.parametrize("num_threads", [-1, 1025, 2**40, 2**64])
def test_threads(wav_file, num_threads):
    with pytest.raises(REFUSED):
        native.hash_files([wav_file], num_threads)


def test_rates_at_the_limit():
    with pytest.raises(native.LimitError, match="filter taps"):
        native.resample(WAV_CN, 767_999, 768_000)
    assert native.resample(WAV_CN[:, :3], 1, 192_000).shape == (2, 3 * 192_000)
    assert native.resample(WAV_CN, 8000, 1).shape == (2, 0)
