"""Patterns applied to tensors: codes to the model's sequence and back, and which step predicts which code.

`native.interleave` and `native.deinterleave` do the same to numpy arrays of codes; a test holds them equal.

Legend: B batch, K codebooks, T frames, S steps.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from musicgen_core.patterns.layout import Pattern


def interleave(codes_BKT: Tensor, pattern: Pattern, special: int, keep_only_valid: bool) -> tuple[Tensor, Tensor]:
    """Lay codes out along the sequence.

    codes_BKT int64 -> (sequence_BKS int64 with `special` where no code stands, mask_KS bool: a code stands here).
    """
    frame_KS, mask_KS = _sequence_tables(pattern, keep_only_valid, codes_BKT.device)
    index_BKS = frame_KS.expand(codes_BKT.shape[0], -1, -1)
    return codes_BKT.gather(2, index_BKS).masked_fill(~mask_KS, special), mask_KS


def deinterleave(sequence_BKS: Tensor, pattern: Pattern, special: int) -> tuple[Tensor, Tensor]:
    """Inverse of `interleave`, for a sequence of either length.

    sequence_BKS int64 -> (codes_BKT int64 with `special` where the sequence ends before the code, mask_KT bool).
    """
    step_KT, mask_KT = _code_tables(pattern, sequence_BKS.shape[2], sequence_BKS.device)
    index_BKT = step_KT.expand(sequence_BKS.shape[0], -1, -1)
    return sequence_BKS.gather(2, index_BKT).masked_fill(~mask_KT, special), mask_KT


def predicting_steps(pattern: Pattern, num_steps: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The step whose output predicts each code: the one before the step where the code stands.

    -> (step_KT int64, 0 where a sequence of `num_steps` has none; mask_KT bool, False there).
    """
    step_KT, mask_KT = _code_tables(pattern, num_steps, device)
    return (step_KT - 1).clamp(min=0), mask_KT


@lru_cache(maxsize=128)
def _sequence_tables(pattern: Pattern, keep_only_valid: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    frame_KS = torch.from_numpy(pattern.frame_KS(keep_only_valid)).to(device)
    return frame_KS.clamp(min=0), frame_KS >= 0


@lru_cache(maxsize=128)
def _code_tables(pattern: Pattern, num_steps: int, device: torch.device) -> tuple[Tensor, Tensor]:
    step_KT = torch.from_numpy(pattern.step_KT).to(device)
    mask_KT = step_KT < num_steps
    return torch.where(mask_KT, step_KT, 0), mask_KT
