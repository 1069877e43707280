"""What a predictor would pay that knows only how often each code occurs: the line a model must end below.

Two lines are drawn. The honest baseline counts codes on the train split and predicts the held-out ones. The stricter
one is the held-out tokens' own entropy: no predictor that ignores context, however fitted, pays less for these tokens.

Legend: G segments, K codebooks, T frames, C card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from musicgen_core import native
from musicgen_core.data.manifest import ManifestRecord
from musicgen_core.eval.heldout import find_track
from musicgen_core.eval.scores import Scores
from musicgen_core.util.log import progress
from musicgen_core.util.streams import EVALUATION_NOISE

SMOOTHING = 0.5
"""Added to every count, so that a code unseen in training has a price (Krichevsky & Trofimov 1981)."""


def count_codes(records: Sequence[ManifestRecord], shards: Mapping[str, native.TokenShards]) -> np.ndarray:
    """counts_KC, int64: how often each code occurs in all frames of these tracks."""
    first = next(iter(shards.values()))
    counts_KC = np.zeros((first.num_codebooks, first.card), dtype=np.int64)
    for record in progress(records, "counting train tokens"):
        add_counts(counts_KC, shards[record.corpus].read(find_track(record, shards)))
    return counts_KC


def add_counts(counts_KC: np.ndarray, codes_KT: np.ndarray, mask_KT: np.ndarray | None = None) -> None:
    """Add the codes under the mask (default: all) to the counts, in place."""
    for k, codes_T in enumerate(codes_KT):
        kept = codes_T if mask_KT is None else codes_T[mask_KT[k]]
        counts_KC[k] += np.bincount(kept, minlength=counts_KC.shape[1])


def train_unigram(counts_KC: np.ndarray) -> np.ndarray:
    """Log probabilities [K,C] in nats from counts on the train split, smoothed."""
    smoothed = counts_KC + SMOOTHING
    return np.log(smoothed / smoothed.sum(axis=1, keepdims=True))


def own_unigram(codes: Sequence[np.ndarray], masks: Sequence[np.ndarray], card: int) -> np.ndarray:
    """Log probabilities [K,C] of the very tokens that are scored; -inf for codes that are not among them."""
    counts_KC = np.zeros((codes[0].shape[0], card), dtype=np.int64)
    for codes_KT, mask_KT in zip(codes, masks, strict=True):
        add_counts(counts_KC, codes_KT, mask_KT)
    with np.errstate(divide="ignore"):
        return np.log(counts_KC / counts_KC.sum(axis=1, keepdims=True))


def score_unigram(log_probs_KC: np.ndarray, codes: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Scores:
    """Price of codes_KT under fixed log probabilities, over the positions of mask_KT only."""
    num_codebooks = log_probs_KC.shape[0]
    nll_GK = np.zeros((len(codes), num_codebooks))
    num_GK = np.zeros((len(codes), num_codebooks), dtype=np.int64)
    for g, (codes_KT, mask_KT) in enumerate(zip(codes, masks, strict=True)):
        for k in range(num_codebooks):
            nll_GK[g, k] = -log_probs_KC[k, codes_KT[k][mask_KT[k]]].sum()
            num_GK[g, k] = mask_KT[k].sum()
    return Scores(nll_GK=nll_GK, num_GK=num_GK)


def draw_codes(log_probs_KC: np.ndarray, num_frames: int, seed: int) -> np.ndarray:
    """codes_KT int64, each drawn by itself: what a model would generate that knows only code frequencies."""
    num_codebooks, card = log_probs_KC.shape
    indexes = np.arange(num_codebooks * num_frames, dtype=np.int64)
    uniform_KT = native.uniform(seed, EVALUATION_NOISE, 0, indexes).reshape(num_codebooks, num_frames)
    cumulative_KC = np.exp(log_probs_KC).cumsum(axis=1)
    codes_KT = np.stack([np.searchsorted(c, u, side="right") for c, u in zip(cumulative_KC, uniform_KT, strict=True)])
    return np.minimum(codes_KT, card - 1)
