"""The unigram lines: what frequency alone is worth."""

import numpy as np
import pytest

from musicgen_core.eval.unigram import SMOOTHING, add_counts, draw_codes, own_unigram, score_unigram, train_unigram

CARD = 8


def all_true(codes: np.ndarray) -> np.ndarray:
    return np.ones(codes.shape, dtype=bool)


def test_uniform_codes_cost_ln_card() -> None:
    codes = np.tile(np.arange(CARD), (2, 5))
    own = score_unigram(own_unigram([codes], [all_true(codes)], CARD), [codes], [all_true(codes)])
    np.testing.assert_allclose(own.per_codebook, np.log(CARD))


def test_own_entropy_is_below_every_fixed_prediction() -> None:
    random = np.random.default_rng(0)
    codes = [random.choice(CARD, p=np.arange(1, 9) / 36, size=(3, 50)) for _ in range(4)]
    masks = [all_true(c) for c in codes]
    own = score_unigram(own_unigram(codes, masks, CARD), codes, masks).mean
    for seed in range(20):
        other = np.log(np.random.default_rng(seed).dirichlet(np.ones(CARD), size=3))
        assert own <= score_unigram(other, codes, masks).mean


def test_unseen_codes_have_a_price() -> None:
    table = train_unigram(np.array([[10, 0]]))
    assert table[0, 1] == pytest.approx(np.log(SMOOTHING / 11))
    np.testing.assert_allclose(np.exp(table).sum(axis=1), 1)


def test_only_masked_positions_count() -> None:
    codes = np.array([[0, 1, 1], [2, 2, 3]])
    mask = np.array([[True, True, True], [True, True, False]])
    scored = score_unigram(np.log(np.full((2, 4), 0.25)), [codes], [mask])
    assert scored.num_GK.tolist() == [[3, 2]]
    counts = np.zeros((2, 4), dtype=np.int64)
    add_counts(counts, codes, mask)
    assert counts.tolist() == [[1, 2, 0, 0], [0, 0, 2, 0]]


def test_drawn_codes_follow_the_frequencies() -> None:
    wanted = np.array([[0.7, 0.2, 0.1, 0.0], [0.25, 0.25, 0.25, 0.25]])
    with np.errstate(divide="ignore"):
        codes = draw_codes(np.log(wanted), 20_000, seed=1)
    shares = np.stack([np.bincount(c, minlength=4) / 20_000 for c in codes])
    np.testing.assert_allclose(shares, wanted, atol=0.02)
    assert not np.array_equal(codes[0], codes[1])
