"""Does a caption change what is generated?

Share of differing codes under one seed says that the caption reaches the sampling at all. It grows from one changed
code, so it says little about how much. The second question is answered by code frequencies: are draws of different
captions further apart than draws of the same caption with different seeds, and could chance alone explain it?

Legend: P captions, R draws per caption, K codebooks, T frames, C card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musicgen_core.eval.figure import Figure
from musicgen_core.util.streams import EVALUATION_PERMUTATION

NUM_PERMUTATIONS = 999


@dataclass(frozen=True, kw_only=True)
class Adherence:
    """How generation depends on the caption."""

    differing_same_seed: float
    """Share of codes that differ between two captions under the same seed, mean over pairs; 0: captions are ignored."""

    differing_same_caption: float
    """Share that differs between two seeds under the same caption: what chance alone gives."""

    between_bits: float
    """Jensen-Shannon divergence in bits between code frequencies of draws with different captions and seeds."""

    within_bits: float
    """The same between draws of one caption with different seeds."""

    p_value: float
    """Probability of so large a `between - within` if captions did not matter, by exchanging captions among draws."""

    num_pairs_between: int
    num_pairs_within: int

    @property
    def ratio(self) -> float | None:
        """Above 1: captions move code frequencies more than the seed does. None where `within_bits` is 0."""
        return self.between_bits / self.within_bits if self.within_bits > 0 else None


def adherence_figures(codes_PRKT: np.ndarray, card: int, seed: int) -> dict[str, Figure]:
    """Figures over draws; draw r of every caption was made with the same randomness."""
    found = measure_adherence(codes_PRKT, card, seed)
    captions, draws, num_codebooks, num_frames = codes_PRKT.shape
    samples = {"captions": captions, "draws_per_caption": draws, "tokens_per_draw": num_codebooks * num_frames}
    pairs = {"pairs_between": found.num_pairs_between, "pairs_within": found.num_pairs_within, **samples}
    return {
        "differing_same_seed": Figure(
            value=found.differing_same_seed,
            unit="share of codes",
            samples=samples,
            note="Codes that change when only the caption changes, under the same seed.",
        ),
        "differing_same_caption": Figure(
            value=found.differing_same_caption,
            unit="share of codes",
            samples=samples,
            note="Codes that change when only the seed changes, under the same caption.",
        ),
        "between_captions": Figure(
            value=found.between_bits,
            unit="bits",
            samples=pairs,
            note="Jensen-Shannon divergence between code frequencies of draws with different captions and seeds.",
        ),
        "within_caption": Figure(
            value=found.within_bits,
            unit="bits",
            samples=pairs,
            note="The same between draws of one caption with different seeds.",
        ),
        "ratio": Figure(
            value=found.ratio,
            unit="times",
            samples=pairs,
            note="between_captions / within_caption; 1: the caption matters no more than the seed.",
        ),
        "p_value": Figure(
            value=found.p_value,
            unit="probability",
            samples={"permutations": NUM_PERMUTATIONS, **samples},
            note="How often exchanging captions among draws gives as large a difference; small: captions matter.",
        ),
    }


def measure_adherence(codes_PRKT: np.ndarray, card: int, seed: int) -> Adherence:
    """Compare draws; draw r of every caption was made with the same randomness.

    ValueError with fewer than 2 captions or 2 draws.
    """
    num_captions, num_draws = codes_PRKT.shape[:2]
    if num_captions < 2 or num_draws < 2:
        raise ValueError(f"{num_captions} captions with {num_draws} draws each: at least 2 of both are needed")
    caption_of = np.repeat(np.arange(num_captions), num_draws)
    draw_of = np.tile(np.arange(num_draws), num_captions)
    upper = np.triu(np.ones((len(caption_of), len(caption_of)), dtype=bool), k=1)
    same_draw = draw_of[:, None] == draw_of[None]
    same_caption = caption_of[:, None] == caption_of[None]
    flat = codes_PRKT.reshape(num_captions * num_draws, *codes_PRKT.shape[2:])
    differing = np.stack([(flat != one).mean(axis=(1, 2)) for one in flat])
    bits = pairwise_divergence_bits(flat, card)
    comparable = upper & ~same_draw  # one seed shared by two captions would make them look closer than they are
    between, within = _contrast(bits, comparable, same_caption)
    return Adherence(
        differing_same_seed=float(differing[upper & same_draw & ~same_caption].mean()),
        differing_same_caption=float(differing[upper & same_caption].mean()),
        between_bits=between,
        within_bits=within,
        p_value=_permutation_p(bits, comparable, num_captions, num_draws, seed),
        num_pairs_between=int((comparable & ~same_caption).sum()),
        num_pairs_within=int((comparable & same_caption).sum()),
    )


def pairwise_divergence_bits(codes_RKT: np.ndarray, card: int) -> np.ndarray:
    """Jensen-Shannon divergence [R,R] in bits (0 to 1) between code frequencies, mean over codebooks (Lin 1991)."""
    num_draws, num_codebooks, num_frames = codes_RKT.shape
    frequencies_RKC = np.zeros((num_draws, num_codebooks, card))
    for r in range(num_draws):
        for k in range(num_codebooks):
            frequencies_RKC[r, k] = np.bincount(codes_RKT[r, k], minlength=card) / num_frames
    entropy_R = _entropy_bits(frequencies_RKC)
    mixed = np.stack([_entropy_bits((frequencies_RKC + one) / 2) for one in frequencies_RKC])
    return mixed - (entropy_R[:, None] + entropy_R[None]) / 2


def pick_captions(captions: Sequence[str], count: int) -> list[str]:
    """At most `count` different captions, spread over their sorted order."""
    distinct = sorted(set(captions))
    if len(distinct) <= count:
        return distinct
    return [distinct[i * (len(distinct) - 1) // (count - 1)] for i in range(count)]


def _entropy_bits(frequencies_RKC: np.ndarray) -> np.ndarray:
    logs = np.log2(frequencies_RKC, out=np.zeros_like(frequencies_RKC), where=frequencies_RKC > 0)
    return -(frequencies_RKC * logs).sum(axis=-1).mean(axis=-1)


def _contrast(bits: np.ndarray, comparable: np.ndarray, same_caption: np.ndarray) -> tuple[float, float]:
    return float(bits[comparable & ~same_caption].mean()), float(bits[comparable & same_caption].mean())


def _permutation_p(bits: np.ndarray, comparable: np.ndarray, num_captions: int, num_draws: int, seed: int) -> float:
    """Captions are exchanged among draws of the same seed, so that seeds stay balanced."""
    random = np.random.Generator(np.random.Philox(key=np.array([seed, EVALUATION_PERMUTATION], dtype=np.uint64)))

    def gap(caption_PR: np.ndarray) -> float:
        labels = caption_PR.reshape(-1)
        between, within = _contrast(bits, comparable, labels[:, None] == labels[None])
        return between - within

    plain = np.repeat(np.arange(num_captions)[:, None], num_draws, axis=1)
    observed = gap(plain)
    as_large = sum(gap(random.permuted(plain, axis=0)) >= observed - 1e-12 for _ in range(NUM_PERMUTATIONS))
    return (1 + as_large) / (1 + NUM_PERMUTATIONS)
