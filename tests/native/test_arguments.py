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


def clear(error):
    """One line, and not about a bug of ours."""
    assert str(error)
    assert "\n" not in str(error)
    assert "internal" not in str(error)


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


@given(start=anything, count=anything, rate_hz=anything, num_channels=anything)
@some
def test_read_segment(wav_file, start, count, rate_hz, num_channels):
    try:
        found = native.read_segment(wav_file, start, count, sample_rate_hz=rate_hz, num_channels=num_channels)
    except REFUSED as error:
        clear(error)
        return
    whole = native.resample(native.mix(native.decode(wav_file)[0], num_channels), 44_100, rate_hz)
    np.testing.assert_array_equal(found, whole[:, start : start + count])


@given(place=st.tuples(anything, anything))
@some
def test_byte_ranges(wav_file, place):
    try:
        found = native.read_segment(wav_file, 0, 10, sample_rate_hz=44_100, num_channels=2, byte_range=place)
    except (native.AudioError, *REFUSED) as error:
        clear(error)
        return
    assert place[0] == 0  # and as many bytes as the samples need, or more
    np.testing.assert_array_equal(found, native.decode(wav_file)[0][:, :10])


@pytest.fixture(scope="module")
def sampled(tokens, tmp_path_factory):
    """sampled(**options) -> a sampler over four tracks."""
    manifest = tmp_path_factory.mktemp("sampled") / "train.jsonl"
    manifest.write_text("{}\n" * 4)
    native.write_track_list(manifest, tokens.keys, [100, 200, 300, 400], [1.0, 2.0, 0.0, 1.0])
    tracks = native.TrackList(manifest)

    def make(num_lists=1, **options):
        options = {"seed": 1, "segment_frames": 5, "min_segment_ratio": 0.5, "special": CARD, **options}
        options = {"num_codebooks": tokens.read(0).shape[0], **options}
        return native.TokenSampler([tracks] * num_lists, [tokens] * num_lists, **options)

    return make


def drawn(sampled, **options):
    """Of a sampler with these options: refused with words, or what is drawn lies in its tracks."""
    try:
        sampler = sampled(**options)
        segments = sampler.draw(0, 20)
    except REFUSED as error:
        clear(error)
        return
    assert ((segments.tracks >= 0) & (segments.tracks < 4)).all()
    assert ((segments.starts >= 0) & (segments.num_valid >= 0)).all()
    assert (segments.num_valid <= options.get("segment_frames", 5)).all()


@given(seed=anything, stream=anything)
@some
def test_seeds_of_samplers(sampled, seed, stream):
    drawn(sampled, seed=seed, stream=stream)


@given(epoch_samples=st.one_of(st.none(), anything), segment_frames=anything, ratio=st.floats())
@some
def test_lengths_of_samplers(sampled, epoch_samples, segment_frames, ratio):
    drawn(sampled, epoch_samples=epoch_samples, segment_frames=segment_frames, min_segment_ratio=ratio)


@given(shares=st.lists(st.one_of(st.floats(), st.sampled_from([0.0, 1.0, 1e308, 5e-324])), max_size=3))
@some
def test_shares_of_samplers(sampled, shares):
    drawn(sampled, num_lists=2, shares=shares)


@given(num_codebooks=anything, special=anything)
@some
def test_codes_of_samplers(sampled, num_codebooks, special):
    try:
        sampler = sampled(num_codebooks=num_codebooks, special=special)
        sampler.cut(sampler.draw(0, 3), np.zeros((3, num_codebooks, sampler.num_steps), np.uint16))
    except (native.ShardError, *REFUSED) as error:
        clear(error)
        return
    assert 0 <= special < 2**16


@given(
    frame_KS=st.lists(
        st.lists(st.one_of(st.integers(-3, 8), st.sampled_from([2**31, 2**63 - 1, -(2**63)])), min_size=6, max_size=6),
        min_size=4,
        max_size=4,
    )
)
@some
def test_patterns_of_samplers(sampled, tokens, frame_KS):
    """A step holds a frame of the segment or none; a table that says else is refused, or read as what it says."""
    table = np.array(frame_KS, np.int64)
    try:
        sampler = sampled(frame_KS=table)
    except REFUSED as error:
        clear(error)
        return
    out_BKS, mask_BKS = np.zeros((2, 4, 6), np.uint16), np.zeros((2, 4, 6), bool)
    segments = sampler.batch(0, 2, out_BKS, mask_BKS)
    for row, start, out_KS, mask_KS in zip(segments.rows, segments.starts, out_BKS, mask_BKS, strict=True):
        codes_KT = tokens.read(int(row), int(start), 5)
        expected = np.full((4, 6), CARD)
        there = (table >= 0) & (table < codes_KT.shape[1])
        expected[there] = codes_KT[np.nonzero(there)[0], table[there]]
        np.testing.assert_array_equal(mask_KS, there)
        np.testing.assert_array_equal(out_KS, expected)


@given(first=anything, count=st.sampled_from([-1, 0, 5, 2**28 + 1, 2**32, 2**40, 2**63, 2**64, 2**70]))
@some
def test_draws(sampled, first, count):
    try:
        segments = sampled().draw(first, count)
    except REFUSED as error:
        clear(error)
        return
    assert len(segments) == count


@pytest.mark.parametrize("num_threads", [-1, 1025, 2**40, 2**64])
def test_threads(wav_file, num_threads):
    with pytest.raises(REFUSED):
        native.hash_files([wav_file], num_threads)


def test_rates_at_the_limit():
    with pytest.raises(native.LimitError, match="filter taps"):
        native.resample(WAV_CN, 767_999, 768_000)
    assert native.resample(WAV_CN[:, :3], 1, 192_000).shape == (2, 3 * 192_000)
    assert native.resample(WAV_CN, 8000, 1).shape == (2, 0)
