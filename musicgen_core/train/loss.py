"""Cross-entropy per codebook.

The loss of a batch is the mean over codebooks of (sum of cross-entropy over valid codes / number of valid codes), where
both sums run over the whole global batch. So it depends neither on the number of processes nor on micro-batches.

Legend: B batch, K codebooks, T frames, C cardinality.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from musicgen_core.patterns.layout import Pattern

IGNORED = -100


def sum_losses(logits_BKTC: Tensor, codes_BKT: Tensor, mask_BKT: Tensor) -> Tensor:
    """Cross-entropy in nats summed over the valid frames of each sample -> float32 [B, K].

    Logits may be NaN and codes out of range where the mask is False: neither is read. Codebooks are taken one by one,
    so that no float32 copy of all logits exists at once.
    """
    sums = []
    for k in range(codes_BKT.shape[1]):
        mask_BT = mask_BKT[:, k]
        logits_BTC = logits_BKTC[:, k].float().masked_fill(~mask_BT[..., None], 0.0)
        target_BT = codes_BKT[:, k].masked_fill(~mask_BT, IGNORED)
        losses = F.cross_entropy(logits_BTC.flatten(0, 1), target_BT.flatten(), ignore_index=IGNORED, reduction="none")
        sums.append(losses.view_as(target_BT).sum(1))
    return torch.stack(sums, dim=1)


def count_valid(pattern: Pattern, num_valid_B: np.ndarray) -> Tensor:
    """Codes with a loss in each codebook, for samples with these numbers of valid frames -> float64 [K], at least 1.

    A code has a loss when its frame is valid and the pattern, cut for training, predicts it.
    """
    mask_KT = pattern.step_KT < pattern.num_valid_steps
    upto_KT = np.concatenate([np.zeros((len(mask_KT), 1)), np.cumsum(mask_KT, axis=1)], axis=1)
    return torch.from_numpy(np.maximum(upto_KT[:, num_valid_B].sum(axis=1), 1.0))
