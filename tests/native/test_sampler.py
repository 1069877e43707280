"""Random numbers against numpy's Philox, and segment sampling against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicgen_core import native

words = st.integers(0, 2**64 - 1)


def block(key, counter):
    """numpy increments the counter before the first block."""
    total = sum(word << 64 * place for place, word in enumerate(counter))
    before = (total - 1) % 2**256
    generator = np.random.Philox(key=np.array(key, np.uint64), counter=before)
    return generator.random_raw(4)


@given(st.tuples(words, words), st.tuples(words, words, words, words))
def test_philox_equals_numpy(key, counter):
    np.testing.assert_array_equal(native.philox_raw(key, counter), block(key, counter))


def test_uniform_is_the_upper_53_bits_of_the_first_word():
    indexes = [0, 1, 2, 10**12]
    found = native.uniform(2036, 3, 7, indexes, draw=5)
    expected = [(int(block((2036, 3), (7, index, 5, 0))[0]) >> 11) * 2.0**-53 for index in indexes]
    assert found.tolist() == expected
    many = native.uniform(0, 0, 0, np.arange(20_000))
    assert 0 <= many.min() < many.max() < 1
    assert abs(many.mean() - 0.5) < 0.01


def naive(seed, stream, epoch, index, num_frames, weights, segment, ratio):
    track_word, start_word, *_ = (int(word) for word in block((seed, stream), (epoch, index, 0, 0)))
    if weights is None:
        track = track_word * len(num_frames) >> 64
    else:
        u = (track_word >> 11) * 2.0**-53 * np.cumsum(weights)[-1]
        track = next(i for i, total in enumerate(np.cumsum(weights)) if total > u)
    last = max(0, num_frames[track] - math.ceil(segment * ratio - 1e-9))
    return track, start_word * (last + 1) >> 64


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 2.5, 0.5, 3.0]])
def test_segments_follow_their_definition(weights):
    num_frames = [100, 1500, 1501, 10_000, 0]
    tracks, starts = native.sample_segments(1, 2, 500, 300, num_frames, weights, 1500, 0.8, stream=4)
    expected = [naive(1, 4, 2, 500 + i, num_frames, weights, 1500, 0.8) for i in range(300)]
    assert list(zip(tracks.tolist(), starts.tolist(), strict=True)) == expected
    assert (tracks.dtype, starts.dtype) == (np.int64, np.int64)


def test_any_part_can_be_drawn_alone():
    num_frames = np.arange(1, 200) * 13
    tracks, starts = native.sample_segments(9, 1, 0, 1000, num_frames, None, 300, 0.8)
    for first, count in [(0, 1), (17, 30), (999, 1), (500, 0)]:
        part = native.sample_segments(9, 1, first, count, num_frames, None, 300, 0.8)
        np.testing.assert_array_equal(part[0], tracks[first : first + count])
        np.testing.assert_array_equal(part[1], starts[first : first + count])
    other = native.sample_segments(9, 2, 0, 1000, num_frames, None, 300, 0.8)
    assert not np.array_equal(other[0], tracks)


def test_starts_leave_the_ratio_inside_the_track():
    num_frames = np.array([50, 240, 300, 5000])
    tracks, starts = native.sample_segments(0, 0, 0, 20_000, num_frames, None, 300, 0.8)
    inside = np.minimum(num_frames[tracks] - starts, 300)
    assert (inside >= np.minimum(240, num_frames[tracks])).all()
    assert starts[tracks == 3].max() > 4700
    assert starts[tracks == 2].max() == 60
    assert (starts[tracks <= 1] == 0).all()
    shares = np.bincount(tracks) / 20_000
    assert np.abs(shares - 0.25).max() < 0.015


def test_weights_are_shares():
    tracks, _ = native.sample_segments(0, 0, 0, 40_000, [10, 10, 10, 10], [1, 0, 2, 1], 10, 1.0)
    assert np.abs(np.bincount(tracks, minlength=4) / 40_000 - [0.25, 0, 0.5, 0.25]).max() < 0.01


@pytest.mark.parametrize(
    ("num_frames", "weights", "ratio", "message"),
    [
        ([], None, 0.8, "no tracks"),
        ([5, -1], None, 0.8, "track 1 has -1"),
        ([5, 5], [1.0], 0.8, "1 weights for 2 tracks"),
        ([5, 5], [1.0, np.nan], 0.8, "weight of track 1"),
        ([5, 5], [0.0, 0.0], 0.8, "sum to 0"),
        ([5, 5], None, 1.5, "min_segment_ratio is 1.5"),
    ],
)
def test_refusals(num_frames, weights, ratio, message):
    with pytest.raises(ValueError, match=message):
        native.sample_segments(0, 0, 0, 1, num_frames, weights, 10, ratio)
