"""Negative log-likelihoods summed per segment, so that means are weighted by tokens and intervals by tracks.

Legend: G segments, K codebooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musicgen_core.eval.figure import Figure
from musicgen_core.util.streams import EVALUATION_BOOTSTRAP

NUM_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What some predictor paid for the held-out tokens."""

    nll_GK: np.ndarray
    """float64, nats summed over the tokens of a segment and codebook."""

    num_GK: np.ndarray
    """int64, the number of those tokens."""

    def __post_init__(self) -> None:
        if self.nll_GK.shape != self.num_GK.shape or self.num_GK.sum(axis=0).min(initial=1) < 1:
            raise ValueError(
                f"scores of shape {self.nll_GK.shape} over tokens of shape {self.num_GK.shape} with "
                f"{self.num_GK.sum(axis=0).tolist()} tokens per codebook: each codebook needs at least one token, "
                f"so segments must be longer than the pattern's longest delay"
            )

    @property
    def per_codebook(self) -> np.ndarray:
        """float64 [K], nats per token; every token weighs the same, whatever segment it is in."""
        return self.nll_GK.sum(axis=0) / self.num_GK.sum(axis=0)

    @property
    def mean(self) -> float:
        """Mean over codebooks, as in the training loss (reference 3.6)."""
        return float(self.per_codebook.mean())

    def take(self, segments: np.ndarray) -> Scores:
        """The scores of some segments, given by index or mask."""
        return Scores(nll_GK=self.nll_GK[segments], num_GK=self.num_GK[segments])

    def __sub__(self, other: Scores) -> Scores:
        """What this predictor pays more than `other` for the same tokens."""
        if not np.array_equal(self.num_GK, other.num_GK):
            raise ValueError(
                f"scores over {self.num_GK.sum()} and {other.num_GK.sum()} tokens cannot be compared: "
                f"measure both on the same tokens"
            )
        return Scores(nll_GK=self.nll_GK - other.nll_GK, num_GK=self.num_GK)


def mean_figure(scores: Scores, tracks: Sequence[str], seed: int, note: str | None = None) -> Figure:
    """The mean over codebooks with its 95 % interval; `tracks` names the track of each segment."""
    return Figure(
        value=scores.mean,
        unit="nats per token",
        samples=count_samples(scores, tracks),
        interval_95=bootstrap_interval(scores, tracks, seed),
        note=note,
    )


def per_codebook_figure(scores: Scores, tracks: Sequence[str]) -> Figure:
    return Figure(value=scores.per_codebook.tolist(), unit="nats per token", samples=count_samples(scores, tracks))


def count_samples(scores: Scores, tracks: Sequence[str]) -> dict[str, int]:
    return {"segments": len(tracks), "tracks": len(set(tracks)), "tokens": int(scores.num_GK.sum())}


def bootstrap_interval(scores: Scores, tracks: Sequence[str], seed: int) -> tuple[float, float] | None:
    """95 % percentile interval of `Scores.mean` when whole tracks are drawn again with replacement.

    Tokens of one track depend on each other, so tracks are drawn, not segments (Efron & Tibshirani 1993, chapter 8).
    None when there are fewer than two tracks.
    """
    names, of_segment = np.unique(np.asarray(tracks), return_inverse=True)
    if len(names) < 2:
        return None
    nll = np.zeros((len(names), scores.nll_GK.shape[1]))
    num = np.zeros((len(names), scores.num_GK.shape[1]))
    np.add.at(nll, of_segment, scores.nll_GK)
    np.add.at(num, of_segment, scores.num_GK)
    random = np.random.Generator(np.random.Philox(key=np.array([seed, EVALUATION_BOOTSTRAP], dtype=np.uint64)))
    drawn = random.integers(0, len(names), size=(NUM_RESAMPLES, len(names)))
    drawn_num = num[drawn].sum(axis=1)
    means = (nll[drawn].sum(axis=1) / np.maximum(drawn_num, 1)).mean(axis=1)
    means = means[(drawn_num > 0).all(axis=1)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
