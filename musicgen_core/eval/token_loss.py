"""Cross-entropy of an exported model on held-out codes: with the right captions, with those of other tracks, with none.

Legend: B batch, G segments, K codebooks, T frames, C card.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from musicgen_core import native
from musicgen_core.eval.scores import Scores
from musicgen_core.lm.model import LanguageModel
from musicgen_core.util.log import progress


@torch.inference_mode()
def score_model(
    model: LanguageModel,
    codes: Sequence[np.ndarray],
    captions: Sequence[str | None],
    batch_size: int,
    what: str = "scoring",
) -> tuple[Scores, list[np.ndarray]]:
    """Score codes_KT (int64, one array per segment) and say which positions the pattern let the model predict.

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
        condition = model.conditioner(model.conditioner.prepare([captions[g] for g in batch]).to(device))
        predictions = model.compute_predictions(codes_BKT, condition)
        nll_BKT = token_nll(predictions.logits_BKTC, codes_BKT, predictions.mask_BKT)
        nll_GK[batch] = nll_BKT.double().sum(dim=-1).cpu().numpy()
        num_GK[batch] = predictions.mask_BKT.sum(dim=-1).cpu().numpy()
        for g, mask_KT in zip(batch, predictions.mask_BKT.cpu().numpy(), strict=True):
            masks[g] = mask_KT
    return Scores(nll_GK=nll_GK, num_GK=num_GK), masks


def token_nll(logits_BKTC: torch.Tensor, codes_BKT: torch.Tensor, mask_BKT: torch.Tensor) -> torch.Tensor:
    """-log p of each code in nats, float32 [B,K,T]; 0 where the mask is off (the logits there are NaN)."""
    nll_BKT = torch.zeros(codes_BKT.shape, device=codes_BKT.device)
    nll_BKT[mask_BKT] = functional.cross_entropy(logits_BKTC[mask_BKT].float(), codes_BKT[mask_BKT], reduction="none")
    return nll_BKT


def wrong_captions(captions: Sequence[str | None], keys: Sequence[str], seed: int) -> list[str | None]:
    """For each segment the caption of another, never one that reads the same; None stays None.

    Chosen by a hash of (seed, key); `keys` names the segments. ValueError when there are fewer than two captions.
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
