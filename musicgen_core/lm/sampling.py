"""From logits to codes. Randomness comes in as uniforms, so that this file is a plain function.

Legend: B batch, K codebooks, C cardinality.
"""

from __future__ import annotations

import torch
from torch import Tensor

from musicgen_core.config.evaluation import GenerationConfig


def guide(conditional: Tensor, unconditional: Tensor, cfg_coef: float) -> Tensor:
    """Classifier-free guidance on logits (arXiv 2207.12598): 1 is the conditional model, 0 the unconditional."""
    return unconditional + (conditional - unconditional) * cfg_coef


def sample_codes(logits_BKC: Tensor, uniforms_BK: Tensor, config: GenerationConfig) -> Tensor:
    """Draw one code per row by inverting the cumulative distribution at a uniform in [0, 1); returns int64 [B, K].

    temperature 0 takes the likeliest code. top_p above 0 wins over top_k. float64 on sorted probabilities, so that the
    same uniforms give the same codes on any machine up to the logits' own rounding. Logits that are NaN give any code
    in [0, C), so that no device fails on them: lm/finite.py is who names them.
    """
    if config.temperature == 0:
        return logits_BKC.argmax(dim=-1)
    probabilities = torch.softmax(logits_BKC.double() / config.temperature, dim=-1)
    probabilities, codes_BKC = probabilities.sort(dim=-1, descending=True, stable=True)
    if config.top_p > 0:
        probabilities = keep_top_p(probabilities, config.top_p)
    elif config.top_k > 0:
        probabilities = keep_top_k(probabilities, config.top_k)
    cumulative = probabilities.cumsum(dim=-1)
    target = (uniforms_BK.to(cumulative)[..., None] * cumulative[..., -1:]).contiguous()
    rank = torch.searchsorted(cumulative, target, right=True)
    last_kept = (probabilities > 0).sum(dim=-1, keepdim=True).clamp_min(
        1
    ) - 1  # rounding may carry the target to the total
    return codes_BKC.gather(-1, torch.minimum(rank, last_kept))[..., 0]


def keep_top_k(sorted_probabilities: Tensor, k: int) -> Tensor:
    """Zero all below the k-th largest; ties with the k-th stay, as in AudioCraft. Descending input."""
    threshold = sorted_probabilities[..., min(k, sorted_probabilities.shape[-1]) - 1, None]
    return sorted_probabilities.where(sorted_probabilities >= threshold, 0)


def keep_top_p(sorted_probabilities: Tensor, p: float) -> Tensor:
    """Zero each whose larger predecessors already hold more than p; the largest always stays. Descending input."""
    before = sorted_probabilities.cumsum(dim=-1) - sorted_probabilities
    kept = before <= p
    kept[..., 0] = True
    return sorted_probabilities.where(kept, 0)
