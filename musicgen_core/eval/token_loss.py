"""Cross-entropy of an exported model on held-out codes: with the right captions, with those of other tracks, with none.

Legend: B batch, G segments, K codebooks, T frames, C card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from musicgen_core import native
from musicgen_core.conditioners.recording import AudioConditioner
from musicgen_core.eval.figure import Figure, missing
from musicgen_core.eval.scores import Scores, count_samples, mean_figure, per_codebook_figure
from musicgen_core.eval.unigram import own_unigram, score_unigram
from musicgen_core.lm.model import DESCRIPTION, LanguageModel, Values
from musicgen_core.util.log import progress


def token_loss_figures(
    model: LanguageModel,
    codes: Sequence[np.ndarray],
    rows: Sequence[Mapping[str, Any]],
    tracks: Sequence[str],
    unigram_KC: np.ndarray,
    batch_size: int,
    seed: int,
    hidden: Sequence[np.ndarray] | None = None,
) -> dict[str, Figure]:
    """All figures about held-out codes_KT, one array, row of conditions (`description`: the caption) and track per
    segment.

    The model and both unigram lines are measured over exactly the same tokens: those that the pattern lets the model
    predict, without the `hidden` frames, bool [T] per segment: what a style was heard in could be copied.
    """
    model_scores, masks = score_model(model, codes, rows, batch_size, "cross-entropy", hidden)
    unigram = score_unigram(unigram_KC, codes, masks)
    own = score_unigram(own_unigram(codes, masks, unigram_KC.shape[1]), codes, masks)
    samples = count_samples(model_scores, tracks)
    return {
        "model": mean_figure(model_scores, tracks, seed, "Cross-entropy, mean over codebooks, with the true captions."),
        "model_per_codebook": per_codebook_figure(model_scores, tracks),
        "perplexity": Figure(value=float(np.exp(model_scores.mean)), unit="codes", samples=samples),
        "perplexity_per_codebook": Figure(
            value=np.exp(model_scores.per_codebook).tolist(), unit="codes", samples=samples
        ),
        "unigram": mean_figure(unigram, tracks, seed, "A predictor that knows how often each code occurs in training."),
        "unigram_per_codebook": per_codebook_figure(unigram, tracks),
        "own_unigram": mean_figure(
            own, tracks, seed, "Entropy of the held-out tokens themselves: no predictor without context pays less."
        ),
        "own_unigram_per_codebook": per_codebook_figure(own, tracks),
        "below_unigram": mean_figure(unigram - model_scores, tracks, seed, "unigram minus model; above 0: learned."),
        "below_own_unigram": mean_figure(own - model_scores, tracks, seed, "own_unigram minus model."),
        "uniform": Figure(value=float(np.log(unigram_KC.shape[1])), unit="nats per token", note="ln(card)"),
        **_caption_figures(model, codes, rows, tracks, model_scores, batch_size, seed, hidden),
        **_melody_figures(model, codes, rows, tracks, model_scores, batch_size, seed, hidden),
    }


def _melody_figures(
    model: LanguageModel,
    codes: Sequence[np.ndarray],
    rows: Sequence[Mapping[str, Any]],
    tracks: Sequence[str],
    model_scores: Scores,
    batch_size: int,
    seed: int,
    hidden: Sequence[np.ndarray] | None,
) -> dict[str, Figure]:
    """What is lost when the recording is taken away; nothing for a model that hears none."""
    heard = [name for name, conditioner in model.conditioners.items() if isinstance(conditioner, AudioConditioner)]
    if not heard:
        return {}
    deaf = [{**row, **dict.fromkeys(heard)} for row in rows]
    without, _ = score_model(model, codes, deaf, batch_size, "cross-entropy without melodies", hidden)
    return {
        "without_melody": mean_figure(without, tracks, seed, "The same tokens and captions, no recording given."),
        "melody_gain": mean_figure(
            without - model_scores, tracks, seed, "without_melody minus model; above 0: the segment's own audio helps."
        ),
    }


def _caption_figures(
    model: LanguageModel,
    codes: Sequence[np.ndarray],
    rows: Sequence[Mapping[str, Any]],
    tracks: Sequence[str],
    model_scores: Scores,
    batch_size: int,
    seed: int,
    hidden: Sequence[np.ndarray] | None,
) -> dict[str, Figure]:
    """What is lost when the caption is taken away or exchanged, over the segments that have one; what else the model is
    conditioned on stays."""
    captions = [row.get(DESCRIPTION) for row in rows]
    with_caption = np.array([i for i, caption in enumerate(captions) if caption is not None], dtype=np.int64)
    if len(with_caption) == 0:
        reason = "no held-out track has a caption"
        return {name: missing("nats per token", reason) for name in ("without_caption", "wrong_caption")}
    codes, tracks = [codes[i] for i in with_caption], [tracks[i] for i in with_caption]
    rows, captions = [rows[i] for i in with_caption], [captions[i] for i in with_caption]
    hidden = None if hidden is None else [hidden[i] for i in with_caption]
    true = model_scores.take(with_caption)
    wordless = [{**row, DESCRIPTION: None} for row in rows]
    nothing, _ = score_model(model, codes, wordless, batch_size, "cross-entropy without captions", hidden)
    figures = {
        "without_caption": mean_figure(nothing, tracks, seed, "The same tokens, no caption given."),
        "caption_gain": mean_figure(nothing - true, tracks, seed, "without_caption minus model; above 0: words help."),
    }
    try:
        exchanged = wrong_captions(captions, tracks, seed)
    except ValueError as error:
        return figures | {"wrong_caption": missing("nats per token", str(error))}
    others = [{**row, DESCRIPTION: caption} for row, caption in zip(rows, exchanged, strict=True)]
    wrong, _ = score_model(model, codes, others, batch_size, "cross-entropy with wrong captions", hidden)
    return figures | {
        "wrong_caption": mean_figure(wrong, tracks, seed, "The same tokens, each with another track's caption."),
        "right_caption_gain": mean_figure(
            wrong - true, tracks, seed, "wrong_caption minus model; above 0: the right words help more than others."
        ),
    }


@torch.inference_mode()
def score_model(
    model: LanguageModel,
    codes: Sequence[np.ndarray],
    rows: Sequence[Values],
    batch_size: int,
    what: str = "scoring",
    hidden: Sequence[np.ndarray] | None = None,
) -> tuple[Scores, list[np.ndarray]]:
    """Score codes_KT (int64, one array per segment) and say which positions the pattern let the model predict.

    Frames that are True in `hidden`, bool [T] per segment, count as not predicted.
    Segments of one length share a batch, so nothing is padded and every counted token has only real music before it.
    Returns the scores and mask_KT (bool) of each segment. float32 logits, float64 sums.
    """
    model.eval()
    device = next(model.parameters()).device
    nll_GK = np.zeros((len(codes), codes[0].shape[0]))
    num_GK = np.zeros(nll_GK.shape, dtype=np.int64)
    masks: list[np.ndarray] = [np.zeros(0)] * len(codes)
    for batch in progress(_batches(codes, batch_size), what):
        codes_BKT = torch.from_numpy(np.stack([codes[g] for g in batch])).to(device)
        prepared = {name: item.to(device) for name, item in model.prepare([rows[g] for g in batch]).items()}
        predictions = model.compute_predictions(codes_BKT, prepared)
        mask_BKT = predictions.mask_BKT
        if hidden is not None:
            mask_BKT = mask_BKT & ~torch.from_numpy(np.stack([hidden[g] for g in batch])).to(device)[:, None]
        nll_BKT = token_nll(predictions.logits_BKTC, codes_BKT, mask_BKT)
        nll_GK[batch] = nll_BKT.double().sum(dim=-1).cpu().numpy()
        num_GK[batch] = mask_BKT.sum(dim=-1).cpu().numpy()
        for g, mask_KT in zip(batch, mask_BKT.cpu().numpy(), strict=True):
            masks[g] = mask_KT
    return Scores(nll_GK=nll_GK, num_GK=num_GK), masks


def token_nll(logits_BKTC: torch.Tensor, codes_BKT: torch.Tensor, mask_BKT: torch.Tensor) -> torch.Tensor:
    """-log p of each code in nats, float32 [B,K,T]; 0 where the mask is off (the logits there are NaN)."""
    nll_BKT = torch.zeros(codes_BKT.shape, device=codes_BKT.device)
    nll_BKT[mask_BKT] = functional.cross_entropy(logits_BKTC[mask_BKT].float(), codes_BKT[mask_BKT], reduction="none")
    return nll_BKT


def wrong_captions(captions: Sequence[str | None], keys: Sequence[str], seed: int) -> list[str | None]:
    """For each segment the caption of another, never one that reads the same; None stays None.

    Chosen by a hash of (seed, key), where `keys` names the segments' tracks: segments of one track get the same one.
    ValueError when there are fewer than two captions.
    """
    distinct = sorted({caption for caption in captions if caption is not None})
    if len(distinct) < 2:
        raise ValueError(f"{len(distinct)} different captions, but at least 2 are needed to exchange them")
    place = {caption: i for i, caption in enumerate(distinct)}

    def exchange(caption: str | None, key: str) -> str | None:
        if caption is None:
            return None
        step = 1 + int(native.hash_bytes(f"{seed}:{key}".encode())[:8], 16) % (len(distinct) - 1)
        return distinct[(place[caption] + step) % len(distinct)]

    return [exchange(caption, key) for caption, key in zip(captions, keys, strict=True)]


def _batches(codes: Sequence[np.ndarray], batch_size: int) -> list[list[int]]:
    """Indexes of segments, grouped by equal length, at most `batch_size` together."""
    by_length: dict[int, list[int]] = {}
    for g, codes_KT in enumerate(codes):
        by_length.setdefault(codes_KT.shape[-1], []).append(g)
    return [
        group[i : i + batch_size] for _, group in sorted(by_length.items()) for i in range(0, len(group), batch_size)
    ]
