"""Adherence: told apart when captions matter, and not when they do not."""

import numpy as np
import pytest

from musicgen_core.eval.adherence import adherence_figures, measure_adherence, pairwise_divergence_bits, pick_captions

CARD = 16


def draws(strength: float, num_captions: int = 4, num_draws: int = 4) -> np.ndarray:
    """codes_PRKT from caption-dependent frequencies mixed with common ones."""
    random = np.random.default_rng(7)
    common = random.dirichlet(np.ones(CARD))
    own = random.dirichlet(np.full(CARD, 0.2), size=num_captions)
    return np.stack(
        [random.choice(CARD, p=(1 - strength) * common + strength * p, size=(num_draws, 2, 200)) for p in own]
    )


def test_captions_that_matter_are_seen() -> None:
    found = measure_adherence(draws(0.8), CARD, seed=0)
    assert found.ratio is not None
    assert found.ratio > 2
    assert found.p_value <= 0.01


def test_captions_that_do_not_matter_are_not_seen() -> None:
    found = measure_adherence(draws(0.0), CARD, seed=0)
    assert found.ratio == pytest.approx(1, abs=0.15)
    assert found.p_value > 0.05


def test_ignored_captions_change_no_code() -> None:
    same = np.repeat(draws(0.5)[:1], 3, axis=0)
    found = measure_adherence(same, CARD, seed=0)
    assert found.differing_same_seed == 0
    assert found.differing_same_caption > 0
    assert found.between_bits == pytest.approx(found.within_bits)


def test_pairs_are_counted() -> None:
    found = measure_adherence(draws(0.5, num_captions=3, num_draws=2), CARD, seed=0)
    assert found.num_pairs_within == 3
    assert found.num_pairs_between == 6, "pairs that share a seed are left out"


def test_divergence_is_one_bit_between_disjoint_codes_and_zero_between_equal() -> None:
    codes = np.stack([np.zeros((2, 10), dtype=int), np.ones((2, 10), dtype=int), np.zeros((2, 10), dtype=int)])
    np.testing.assert_allclose(pairwise_divergence_bits(codes, 2), [[0, 1, 0], [1, 0, 1], [0, 1, 0]], atol=1e-12)


def test_a_model_that_draws_the_same_always_has_no_ratio() -> None:
    figures = adherence_figures(np.zeros((2, 2, 1, 10), dtype=int), CARD, seed=0)
    assert figures["ratio"].value is None
    assert figures["differing_same_caption"].value == 0


def test_too_few_are_refused() -> None:
    with pytest.raises(ValueError, match="1 captions with 4 draws"):
        measure_adherence(draws(0.5)[:1], CARD, seed=0)


def test_picked_captions_are_different_and_spread() -> None:
    assert pick_captions(["b", "a", "b"], 4) == ["a", "b"]
    assert pick_captions(list("abcdefg"), 3) == ["a", "d", "g"]
