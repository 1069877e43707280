"""Scores are weighted by tokens, and intervals by tracks."""

import numpy as np
import pytest

from musicgen_core.eval.figure import missing
from musicgen_core.eval.scores import Scores, bootstrap_interval, mean_figure


def scores(nll: list[list[float]], num: list[list[int]]) -> Scores:
    return Scores(nll_GK=np.array(nll, dtype=float), num_GK=np.array(num))


def test_every_token_weighs_the_same() -> None:
    long_and_short = scores([[100.0], [30.0]], [[90], [10]])
    assert long_and_short.mean == pytest.approx(1.3), "not the mean of 1.11 and 3"


def test_mean_is_over_codebooks() -> None:
    uneven = scores([[10.0, 30.0]], [[10, 5]])
    np.testing.assert_allclose(uneven.per_codebook, [1, 6])
    assert uneven.mean == pytest.approx(3.5)


def test_difference_needs_the_same_tokens() -> None:
    a = scores([[3.0], [4.0]], [[2], [2]])
    assert (a - scores([[1.0], [1.0]], [[2], [2]])).mean == pytest.approx(1.25)
    with pytest.raises(ValueError, match="4 and 3 tokens"):
        a - scores([[1.0], [1.0]], [[2], [1]])


def test_a_codebook_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="longest delay"):
        scores([[1.0, 0.0]], [[1, 0]])


def test_interval_covers_the_mean_and_is_repeatable() -> None:
    random = np.random.default_rng(0)
    many = scores(random.normal(5, 1, size=(40, 2)).tolist(), np.ones((40, 2), dtype=int).tolist())
    tracks = [f"t{i // 2}" for i in range(40)]
    interval = bootstrap_interval(many, tracks, seed=3)
    assert interval == bootstrap_interval(many, tracks, seed=3)
    assert interval != bootstrap_interval(many, tracks, seed=4)
    assert interval is not None
    assert interval[0] < many.mean < interval[1]
    assert interval[1] - interval[0] == pytest.approx(3.92 / np.sqrt(80), rel=0.5)


def test_one_track_has_no_interval() -> None:
    figure = mean_figure(scores([[1.0], [2.0]], [[1], [1]]), ["a", "a"], seed=0)
    assert figure.interval_95 is None
    assert figure.samples == {"segments": 2, "tracks": 1, "tokens": 2}
    assert "interval_95" not in figure.to_json()


def test_missing_figures_say_why() -> None:
    assert missing("dB", "why").to_json() == {"value": None, "unit": "dB", "samples": {}, "note": "why"}
