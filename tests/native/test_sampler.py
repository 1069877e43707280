"""Random numbers against numpy's Philox; drawn tracks and starts against their definition, and against chance."""

from __future__ import annotations

import os
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling_reference import Reference, block, permutation
from token_corpus import SPEC, write_population

from musicgen_core import native

words = st.integers(0, 2**64 - 1)

LISTS = [
    ([100, 1500, 1501, 5000, 0, 240], [1.0, 0.0, 2.5, 0.5, 3.0, 0.25]),
    ([300] * 7, [2.0] * 7),
    ([50, 1499, 1800], [1.0, 4.0, 0.5]),
]


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    root = tmp_path_factory.mktemp("population")
    pairs = [write_population(root, f"list{n}", frames, weights) for n, (frames, weights) in enumerate(LISTS)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def sampler(population, numbers=(0, 1, 2), **options):
    lists, shards = population
    options = {"seed": 1, "stream": 4, "segment_frames": 1500, "min_segment_ratio": 0.8, **options}
    return native.TokenSampler(
        [lists[n] for n in numbers],
        [shards[n] for n in numbers],
        num_codebooks=SPEC.num_codebooks,
        special=SPEC.card,
        **options,
    )


@given(st.tuples(words, words), st.tuples(words, words, words, words))
def test_philox_equals_numpy(key, counter):
    assert native.philox_raw(key, counter).tolist() == block(key, counter)


def test_uniform_is_the_upper_53_bits_of_the_first_word():
    indexes = [0, 1, 2, 10**12]
    found = native.uniform(2036, 3, 7, indexes, draw=5)
    expected = [(block((2036, 3), (7, index, 5, 0))[0] >> 11) * 2.0**-53 for index in indexes]
    assert found.tolist() == expected
    many = native.uniform(0, 0, 0, np.arange(20_000))
    assert 0 <= many.min() < many.max() < 1
    assert abs(many.mean() - 0.5) < 0.01


@pytest.mark.parametrize("first", [0, 37, 9_990, 123_456_789])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"by": "track"},
        {"by": "duration"},
        {"by": "track", "replacement": False},
        {"shares": [1.0, 0.0, 3.0]},
        {"shares": [0.7, 0.2, 0.1], "by": "duration"},
        {"shares": [5.0, 3.0, 2.0], "by": "track", "replacement": False},
    ],
    ids=str,
)
def test_draws_follow_their_definition(population, options, first):
    reference = Reference(LISTS, 1, 4, 1500, 0.8, **options)
    named = {"sample_by" if name == "by" else name: value for name, value in options.items()}
    drawn = sampler(population, **named).draw(first, 60)
    columns = (drawn.epochs, drawn.indexes, drawn.lists, drawn.tracks, drawn.starts)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == list(reference.draw(first, 60))
    lists, shards = population
    for i in range(60):
        key = lists[drawn.lists[i]].key(drawn.tracks[i])
        assert shards[drawn.lists[i]].find(key) == drawn.rows[i]
        frames = LISTS[drawn.lists[i]][0][drawn.tracks[i]]
        assert drawn.num_valid[i] == min(1500, frames - drawn.starts[i])


def test_equal_weights_are_drawn_as_by_track(population):
    """So a corpus keeps its order when a weight is given to all of its tracks."""
    by_weight = sampler(population, [1], sample_by="weight").draw(0, 100)
    by_track = sampler(population, [1], sample_by="track").draw(0, 100)
    assert np.array_equal(by_weight.tracks, by_track.tracks)
    assert np.array_equal(by_weight.starts, by_track.starts)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**12),
    st.integers(0, 70),
    st.sampled_from([{}, {"sample_by": "track", "replacement": False}, {"shares": [1, 1, 2]}]),
)
def test_any_part_can_be_drawn_alone(population, first, skipped, options):
    """O(1) resume: what is drawn at n needs nothing of what came before."""
    whole, part = (
        sampler(population, **options).draw(first, 80),
        sampler(population, **options).draw(first + skipped, 10),
    )
    for name in ("epochs", "indexes", "lists", "tracks", "rows", "starts", "num_valid"):
        assert np.array_equal(getattr(whole, name)[skipped : skipped + 10], getattr(part, name))


def test_a_million_samples_on_is_as_near_as_the_first(population):
    """The walk over a billion samples would take minutes; the state is one number."""
    far = sampler(population, sample_by="track", replacement=False).draw(10**9, 3)
    assert far.epochs[0] == 10**9 // 16
    expected = list(Reference(LISTS, 1, 4, 1500, 0.8, by="track", replacement=False).draw(10**9, 3))
    assert [row[3] for row in expected] == far.tracks.tolist()


def chi_square(counts, expected):
    """Normalised so that chance gives about N(0, 1)."""
    counts, expected = np.asarray(counts, float), np.asarray(expected, float)
    freedom = len(counts) - 1
    return ((counts - expected) ** 2 / expected).sum() / np.sqrt(2 * freedom) - np.sqrt(freedom / 2)


@pytest.mark.parametrize("by", ["track", "weight", "duration"])
def test_tracks_come_as_often_as_their_chance(population, by):
    drawn = sampler(population, sample_by=by).draw(0, 60_000)
    chances = []
    for frames, weights in LISTS:
        weights = np.ones(len(frames)) if by == "track" else np.array(weights)
        chances.append(weights * frames if by == "duration" else weights)
    first = np.cumsum([0] + [len(frames) for frames, _ in LISTS])
    counts = np.bincount(first[drawn.lists] + drawn.tracks, minlength=first[-1])
    expected = np.concatenate(chances) / np.concatenate(chances).sum() * 60_000
    assert (counts[expected == 0] == 0).all()
    assert abs(chi_square(counts[expected > 0], expected[expected > 0])) < 4


def test_starts_are_uniform_and_leave_the_ratio_inside_the_track(population):
    drawn = sampler(population, [2], sample_by="track", segment_frames=100).draw(0, 30_000)
    frames = np.array(LISTS[2][0])[drawn.tracks]
    assert (drawn.num_valid >= np.minimum(80, frames)).all()
    assert (drawn.starts[frames == 50] == 0).all()
    long = drawn.starts[frames == 1499]
    assert (long.min(), long.max()) == (0, 1419)
    assert abs(chi_square(np.bincount(long // 142, minlength=10), np.full(10, len(long) / 10))) < 4


def test_without_replacement_every_pass_holds_every_track_once(population):
    drawn = sampler(population, sample_by="track", replacement=False).draw(0, 16 * 2000)
    first = np.array([0, 6, 13])
    passes = (first[drawn.lists] + drawn.tracks).reshape(2000, 16)
    assert (np.sort(passes, axis=1) == np.arange(16)).all()
    assert len({tuple(row) for row in passes.tolist()}) == 2000
    for place in (0, 1, 7, 15):  # each track is as often at each place
        assert abs(chi_square(np.bincount(passes[:, place], minlength=16), np.full(16, 125))) < 4
    following = Counter(zip(passes[:, 3].tolist(), passes[:, 4].tolist(), strict=True))
    assert (
        abs(chi_square([following[a, b] for a in range(16) for b in range(16) if a != b], np.full(240, 2000 / 240))) < 4
    )


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50, 1000])
def test_permutations_of_any_size(n):
    """The reference itself; the native one is compared with it above."""
    assert sorted(permutation((3, 5), 2, 0, n)) == list(range(n))


def test_shares_are_exact_over_every_ten_thousand_samples(population):
    drawn = sampler(population, shares=[0.7, 0.0, 0.3]).draw(20_000, 30_000)
    for part in drawn.lists.reshape(3, 10_000):
        assert np.bincount(part, minlength=3).tolist() == [7000, 0, 3000]
    runs = np.flatnonzero(np.diff(drawn.lists) != 0)
    assert abs(len(runs) / 30_000 - 2 * 0.7 * 0.3) < 0.01  # in random order, not in stretches
    passes = sampler(population, shares=[1, 1, 2], sample_by="track", replacement=False).draw(0, 40_000)
    of_second = np.bincount(passes.tracks[passes.lists == 1])
    assert (of_second.sum(), of_second.max() - of_second.min()) == (10_000, 1)


def test_an_epoch_may_have_another_length(population):
    drawn = sampler(population, epoch_samples=5).draw(3, 4)
    assert (drawn.epochs.tolist(), drawn.indexes.tolist()) == ([0, 0, 1, 1], [3, 4, 0, 1])


def test_pickled_and_forked(population):
    drawing = sampler(population, shares=[1, 1, 1], frame_KS=np.full((4, 3), -1))
    expected = drawing.draw(5, 20)
    again = pickle.loads(pickle.dumps(drawing))
    assert np.array_equal(again.draw(5, 20).starts, expected.starts)
    assert again.num_steps == 3
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(drawing.draw(5, 20).starts, expected.starts) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numbers": ()}, "no tracks"),
        ({"min_segment_ratio": 1.5}, "min_segment_ratio is 1.5"),
        ({"sample_by": "artist"}, 'sample_by is "artist"; it must be track, weight or duration'),
        ({"replacement": False}, "without replacement every track comes equally often"),
        ({"shares": [1.0]}, "1 shares for 3 lists"),
        ({"shares": [1.0, -1.0, 0.0]}, "share -1 of list 1"),
        ({"shares": [0.0, 0.0, 0.0]}, "the shares sum to 0"),
        ({"shares": [1e-9, 1.0, 1.0]}, "below 1 in 10000"),
        ({"epoch_samples": 0}, "an epoch of 0 samples"),
        ({"frame_KS": np.zeros((3, 5), int)}, "a pattern of 3 codebooks for codes of 4"),
        ({"frame_KS": np.full((4, 5), 1500)}, "frame 1500 of segments of 1500"),
    ],
)
def test_refusals(population, options, message):
    with pytest.raises(ValueError, match=message):
        sampler(population, **options)


def test_lists_and_shards_must_pair(population):
    lists, shards = population
    with pytest.raises(ValueError, match="1 token indexes for 3 lists"):
        native.TokenSampler(
            lists, shards[:1], seed=0, segment_frames=1, min_segment_ratio=1.0, num_codebooks=4, special=64
        )


def test_no_weight_at_all(tmp_path):
    population = write_population(tmp_path, "none", [10, 10], [0.0, 0.0])
    with pytest.raises(ValueError, match="the weights sum to 0"):
        sampler(([population[0]], [population[1]]), [0])
