"""Generation: one step of the pattern at a time, with a key/value cache and classifier-free guidance.

Legend: B batch, K codebooks, T frames, S steps, C cardinality.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from musicgen_core import native
from musicgen_core.conditioners.fuse import Fused
from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.lm.cache import Cache
from musicgen_core.lm.model import LanguageModel, Values
from musicgen_core.lm.sampling import guide, sample_codes
from musicgen_core.patterns.apply import deinterleave, interleave
from musicgen_core.util.streams import GENERATION


@torch.no_grad()
def generate(
    model: LanguageModel,
    captions: Sequence[Values],
    num_frames: int,
    config: GenerationConfig,
    on_step: Callable[[int, int], None] | None = None,
    first_sample: int = 0,
) -> Tensor:
    """Generate codes_BKT int64 in [0, card), one sample per caption; None is unconditional.

    A caption may be a mapping of every condition of the model, such as {"description": "...", "bpm": 120}.
    Sample `first_sample + b` draws from (config.seed, first_sample + b) alone: neither the batch it stands in nor the
    number of frames asked for changes its draws. `on_step(done, total)` is called after each of the T + max delay
    steps; what it raises ends the generation. The model's mode is restored. Raises ValueError for no caption, no frame
    or a negative temperature.
    """
    if not captions:
        raise ValueError("0 captions to generate from; give at least one, or None for an unconditional sample")
    if config.temperature < 0:
        raise ValueError(f"generation.temperature is {config.temperature}; it must be 0 (greedy) or above")
    pattern = model.pattern(num_frames)
    device = next(model.parameters()).device
    guided = config.cfg_coef != 1 and any(caption is not None for caption in captions)
    was_training = model.training
    model.eval()
    try:
        rows = [*captions, *([None] * len(captions) if guided else [])]
        fused = _fuse(model, rows, device)
        empty_BKT = torch.full((len(captions), model.num_codebooks, num_frames), model.special, device=device)
        sequence_BKS, mask_KS = interleave(empty_BKT, pattern, model.special, keep_only_valid=False)
        uniforms_SBK = draw_uniforms(config.seed, first_sample, sequence_BKS.shape, device)
        cache = Cache(len(model.transformer.layers), fused.num_prefix + pattern.num_steps - 1, pattern.num_valid_steps)
        for step in range(1, pattern.num_steps):
            column_BK1 = sequence_BKS[:, :, step - 1 : step]
            logits_BKC = _next_logits(model, column_BK1, fused, cache, guided, config.cfg_coef)
            codes_BK = sample_codes(logits_BKC, uniforms_SBK[step], config)
            sequence_BKS[:, :, step] = torch.where(mask_KS[:, step], codes_BK, model.special)
            if on_step is not None:
                on_step(step, pattern.num_steps - 1)
    finally:
        model.train(was_training)
    codes_BKT, _ = deinterleave(sequence_BKS, pattern, model.special)
    return codes_BKT


def draw_uniforms(seed: int, first_sample: int, shape_BKS: Sequence[int], device: torch.device) -> Tensor:
    """float64 [S, B, K]: the uniform of (step, sample, codebook), from Philox keyed by (seed, sample number)."""
    batch, num_codebooks, num_steps = shape_BKS
    indexes = np.arange(num_steps * num_codebooks, dtype=np.int64)
    draws = [native.uniform(seed, GENERATION, first_sample + b, indexes) for b in range(batch)]
    return torch.from_numpy(np.stack(draws, axis=1)).view(num_steps, num_codebooks, batch).transpose(1, 2).to(device)


def _fuse(model: LanguageModel, rows: Sequence[Values], device: torch.device) -> Fused:
    """Conditions of the rows; nothing is encoded when there is nothing to condition on."""
    if all(row is None for row in rows):
        return model.fuse(None, len(rows))
    return model.fuse({name: item.to(device) for name, item in model.prepare(rows).items()}, len(rows))


def _next_logits(
    model: LanguageModel, column_BK1: Tensor, fused: Fused, cache: Cache, guided: bool, cfg_coef: float
) -> Tensor:
    """Guided logits [B, K, C] of the step after `column_BK1`, in float32."""
    if not guided:
        return model(column_BK1, fused, cache)[:, :, -1].float()
    conditional, unconditional = model(column_BK1.repeat(2, 1, 1), fused, cache)[:, :, -1].float().chunk(2)
    return guide(conditional, unconditional, cfg_coef)
