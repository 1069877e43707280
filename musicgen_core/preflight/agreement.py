"""Do the captions belong to the music? A cheap classifier is asked whether codes tell a track's words.

Each track is described by how often each code occurs in it (square roots of frequencies, so that distances are
Hellinger's), and by which words its caption has. A ridge regression predicts the words of each track from all others:
leave-one-out predictions have a closed form (Allen 1974, PRESS: with hat matrix H, (HY - diag(H) Y) / (1 - diag(H))).
The score is the mean correlation of predictions and truth over the words. Exchanging the captions among tracks says
what chance gives (a permutation test; p = (1 + as large) / (1 + draws), Phipson & Smyth 2010). They are also tried
shifted by a few rows in the order of paths: a lost or doubled row of a table does that.

Legend: G tracks, W words, K codebooks, C card.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musicgen_core.conditioners.lut import split_words
from musicgen_core.data.manifest import ManifestRecord
from musicgen_core.preflight.finding import Finding
from musicgen_core.preflight.material import Material
from musicgen_core.util.log import progress
from musicgen_core.util.streams import EVALUATION_PERMUTATION

MAX_TRACKS, MIN_TRACKS = 400, 24
MAX_WORDS = 200
NUM_PERMUTATIONS = 999
BELONG, CHANCE = 0.01, 0.05
"""p up to which captions belong to the music, and from which nothing speaks for it."""

SHIFTS = (1, -1, 2, -2, 3, -3)
GAIN = 0.05
"""Correlation that a shift must gain where neighbours are alike, so that slipped captions still fit a little."""

RIDGE = 0.1
"""Added to the kernel, as a share of its mean diagonal."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    score: float
    """Mean correlation of predicted and true words, over words."""

    p_value: float
    num_tracks: int
    num_words: int


def check_agreement(material: Material) -> Finding:
    """Over at most 400 captioned tracks of all splits, in the order of their paths."""
    records = [record for record in [*material.train, *material.held_out] if record.caption][:MAX_TRACKS]
    records.sort(key=lambda record: (record.corpus, record.path))
    words_GW = word_table([record.caption or "" for record in records])
    too_small = f"{len(records)} captioned tracks with {words_GW.shape[1]} words that some have and some lack"
    if len(records) < MIN_TRACKS or not words_GW.shape[1]:
        return Finding(
            check="captions and music",
            level="ok" if not records else "warning",
            text=f"too few to tell whether captions belong to the music: {too_small}",
            remedy="read the captions beside the audio in the report",
            figures={"tracks": len(records), "words": words_GW.shape[1]},
        )
    hat_GG = hat_matrix(code_features(material, records))
    found = measure(hat_GG, words_GW, material.run.seed)
    figures = {"score": found.score, "p_value": found.p_value, "tracks": len(records), "words": found.num_words}
    text = (
        f"codes predict {found.num_words} caption words of {found.num_tracks} tracks with a mean correlation of "
        f"{found.score:.2f} (chance gives as much with p = {found.p_value:.3f})"
    )
    shift = find_shift(hat_GG, words_GW, found, material.run.seed)
    if shift is not None:
        return Finding(
            check="captions and music",
            level="problem" if found.p_value > BELONG else "warning",
            text=f"shifted captions: each track seems to have the words of the one {abs(shift)} place(s) "
            f"{'before' if shift > 0 else 'after'} it in the order of paths; {text}",
            remedy="look for a lost or doubled row in the table of captions",
            figures={**figures, "shift": shift},
        )
    if found.p_value <= BELONG:
        return Finding(check="captions and music", level="ok", text=text, figures=figures)
    return Finding(
        check="captions and music",
        level="problem" if found.p_value > CHANCE else "warning",
        text=f"shuffled captions? Nothing shows that they belong to their music: {text}",
        remedy="read the captions beside the audio in the report; the names in the table may be matched to wrong files",
        figures=figures,
    )


def word_table(captions: Sequence[str]) -> np.ndarray:
    """float64 [G, W]: which of the words that at least 3 tracks have, and as many lack, is in which caption; the words
    nearest to half of the tracks first."""
    sets = [set(split_words(caption)) for caption in captions]
    counts = Counter(word for words in sets for word in words)
    usable = [word for word, count in counts.items() if 3 <= count <= len(sets) - 3]
    usable.sort(key=lambda word: (abs(counts[word] - len(sets) / 2), word))
    chosen = usable[:MAX_WORDS]
    return np.array([[float(word in words) for word in chosen] for words in sets]).reshape(len(sets), len(chosen))


def code_features(material: Material, records: Sequence[ManifestRecord]) -> np.ndarray:
    """float64 [G, K * C]: square roots of the share of each code in each track."""
    spec = material.spec
    rows = []
    for record in progress(records, "codes and captions"):
        codes_KT = material.read_codes(record)
        counts = [np.bincount(codes_T, minlength=spec.card) / max(1, len(codes_T)) for codes_T in codes_KT]
        rows.append(np.sqrt(np.concatenate(counts)))
    return np.array(rows)


def hat_matrix(features_GF: np.ndarray) -> np.ndarray:
    """[G, G] of a ridge regression with an intercept: predictions are hat @ truth."""
    centred_GF = features_GF - features_GF.mean(axis=0)
    kernel_GG = centred_GF @ centred_GF.T
    ridge = RIDGE * max(float(np.trace(kernel_GG)) / len(kernel_GG), 1e-12)
    hat_GG = np.linalg.solve(kernel_GG + ridge * np.eye(len(kernel_GG)), kernel_GG)
    centre_GG = np.eye(len(kernel_GG)) - 1 / len(kernel_GG)
    return centre_GG @ hat_GG @ centre_GG + 1 / len(kernel_GG)


def measure(hat_GG: np.ndarray, words_GW: np.ndarray, seed: int) -> Agreement:
    """The score of these captions, and of captions exchanged among tracks."""
    random = np.random.Generator(np.random.Philox(key=np.array([seed, EVALUATION_PERMUTATION], dtype=np.uint64)))
    score = score_words(hat_GG, words_GW)
    larger = sum(
        score_words(hat_GG, words_GW[random.permutation(len(words_GW))]) >= score - 1e-12
        for _ in range(NUM_PERMUTATIONS)
    )
    return Agreement(
        score=score,
        p_value=(1 + larger) / (1 + NUM_PERMUTATIONS),
        num_tracks=len(words_GW),
        num_words=words_GW.shape[1],
    )


def score_words(hat_GG: np.ndarray, words_GW: np.ndarray) -> float:
    """Mean correlation over words of leave-one-out predictions with the truth."""
    own_G1 = np.diag(hat_GG)[:, None]
    predicted_GW = (hat_GG @ words_GW - own_G1 * words_GW) / np.maximum(1 - own_G1, 1e-6)
    a_GW, b_GW = predicted_GW - predicted_GW.mean(axis=0), words_GW - words_GW.mean(axis=0)
    norms_W = np.linalg.norm(a_GW, axis=0) * np.linalg.norm(b_GW, axis=0)
    return float(((a_GW * b_GW).sum(axis=0) / np.maximum(norms_W, 1e-12)).mean())


def find_shift(hat_GG: np.ndarray, words_GW: np.ndarray, found: Agreement, seed: int) -> int | None:
    """By how many rows the captions must be moved back to fit clearly better; None when no small shift does it."""
    scores = {shift: score_words(hat_GG, np.roll(words_GW, -shift, axis=0)) for shift in SHIFTS}
    best = max(scores, key=lambda shift: scores[shift])
    if scores[best] < found.score + GAIN:
        return None
    moved = measure(hat_GG, np.roll(words_GW, -best, axis=0), seed)
    return best if moved.p_value <= BELONG / len(SHIFTS) else None
