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
from musicgen_core.lm.decode import Decoder
from musicgen_core.lm.finite import FiniteLogits
from musicgen_core.lm.model import DESCRIPTION, LanguageModel, Values
from musicgen_core.lm.sampling import guide, sample_codes
from musicgen_core.patterns.apply import deinterleave, interleave
from musicgen_core.patterns.layout import MAX_STEPS
from musicgen_core.util.streams import GENERATION


@torch.no_grad()
def generate(
    model: LanguageModel,
    captions: Sequence[Values],
    num_frames: int,
    config: GenerationConfig,
    on_step: Callable[[int, int], None] | None = None,
    first_sample: int = 0,
    prompt_BKT: Tensor | None = None,
    window: int = 0,
) -> Tensor:
    """Generate codes_BKT int64 in [0, card), one sample per caption; None is unconditional.

    A caption may be a mapping of every condition of the model, such as {"description": "...", "bpm": 120}.
    `prompt_BKT`, int64 in [0, card), are the first frames of each sample: they stay as they are, and the rest of the
    `num_frames` continues them. Sample `first_sample + b` draws from (config.seed, first_sample + b) alone: neither the
    batch it stands in nor the number of frames asked for changes the draws of a step. Each `window` of a longer sample
    (lm/windows.py) has draws of its own. `on_step(done, total)` is called
    after each step of the pattern; what it raises ends the generation. The model's mode is restored.
    Raises ValueError for no caption, no frame, more steps than a sequence may have, a negative temperature, or a prompt
    that does not fit, and when logits are not finite, naming the step.
    """
    if not captions:
        raise ValueError("0 captions to generate from; give at least one, or None for an unconditional sample")
    if config.temperature < 0:
        raise ValueError(f"generation.temperature is {config.temperature}; it must be 0 (greedy) or above")
    pattern = model.pattern(num_frames)
    device = next(model.parameters()).device
    groups = _guidance(model, captions, config)
    codes_BKT = _start_from(model, prompt_BKT, len(captions), num_frames).to(device)
    num_known = 0 if prompt_BKT is None else prompt_BKT.shape[2]
    unknown_KS = torch.from_numpy(pattern.frame_KS(keep_only_valid=False) >= num_known)
    drawn_S, unknown_KS = unknown_KS.any(dim=0).tolist(), unknown_KS.to(device)
    was_training = model.training
    model.eval()
    try:
        rows = [row for group in groups for row in group]
        fused = _fuse(model, rows, device)
        sequence_BKS, _ = interleave(codes_BKT, pattern, model.special, keep_only_valid=False)
        uniforms_SBK = draw_uniforms(config.seed, first_sample, sequence_BKS.shape, device, window)
        cache = Cache(len(model.transformer.layers), fused.num_prefix + pattern.num_steps - 1, pattern.num_valid_steps)
        finite = FiniteLogits(model)
        decode = Decoder(model, fused, cache, len(rows))
        with (
            torch.inference_mode()
        ):  # a tenth less time than no_grad in small models; no result or table is made inside
            for step in range(1, pattern.num_steps):
                if drawn_S[step]:  # steps without anything to draw are read together with the next one that has
                    column_BKS = sequence_BKS[:, :, cache.num_codes_steps : step]
                    logits_BKC = _next_logits(decode, column_BKS, len(groups), config)
                    finite.watch(logits_BKC, step)
                    codes_BK = sample_codes(logits_BKC, uniforms_SBK[step], config)
                    sequence_BKS[:, :, step] = torch.where(unknown_KS[:, step], codes_BK, sequence_BKS[:, :, step])
                if on_step is not None:
                    on_step(step, pattern.num_steps - 1)
            finite.settle()
    finally:
        model.train(was_training)
    codes_BKT, _ = deinterleave(sequence_BKS, pattern, model.special)
    return codes_BKT


def _start_from(model: LanguageModel, prompt_BKT: Tensor | None, batch: int, num_frames: int) -> Tensor:
    """The prompt, and the special token in the frames after it."""
    check_prompt(model, prompt_BKT, batch, num_frames)
    codes_BKT = torch.full((batch, model.num_codebooks, num_frames), model.special)
    if prompt_BKT is not None:
        codes_BKT[:, :, : prompt_BKT.shape[2]] = prompt_BKT
    return codes_BKT


def check_prompt(model: LanguageModel, prompt_BKT: Tensor | None, batch: int, num_frames: int) -> None:
    """Raise ValueError for a prompt that does not fit."""
    if prompt_BKT is None:
        return
    wanted = (batch, model.num_codebooks)
    if prompt_BKT.ndim != 3 or prompt_BKT.shape[:2] != wanted or not 0 < prompt_BKT.shape[2] < num_frames:
        raise ValueError(
            f"the prompt is {list(prompt_BKT.shape)}; {batch} captions, {model.num_codebooks} codebooks and "
            f"{num_frames} frames need [{batch}, {model.num_codebooks}, 1 to {num_frames - 1}]"
        )
    low, high = int(prompt_BKT.min()), int(prompt_BKT.max())
    if low < 0 or high >= model.card:
        raise ValueError(f"the prompt's codes lie in [{low}, {high}], the model's in [0, {model.card - 1}]")


def draw_uniforms(
    seed: int, first_sample: int, shape_BKS: Sequence[int], device: torch.device, window: int = 0
) -> Tensor:
    """float64 [S, B, K]: the uniform of (step, sample, codebook), from Philox keyed by (seed, sample number).

    The draws of a window begin where those of the longest sequence before it end.
    """
    batch, num_codebooks, num_steps = shape_BKS
    indexes = np.arange(num_steps * num_codebooks, dtype=np.int64) + window * MAX_STEPS * num_codebooks
    draws = [native.uniform(seed, GENERATION, first_sample + b, indexes) for b in range(batch)]
    return torch.from_numpy(np.stack(draws, axis=1)).view(num_steps, num_codebooks, batch).transpose(1, 2).to(device)


def _fuse(model: LanguageModel, rows: Sequence[Values], device: torch.device) -> Fused:
    """Conditions of the rows; nothing is encoded when there is nothing to condition on."""
    if all(row is None for row in rows):
        return model.fuse(None, len(rows))
    return model.fuse({name: item.to(device) for name, item in model.prepare(rows).items()}, len(rows))


def _guidance(model: LanguageModel, rows: Sequence[Values], config: GenerationConfig) -> list[list[Values]]:
    """The rows, and what guidance compares them with: the same without words (for `cfg_coef_beta`), and nothing."""
    beta = config.cfg_coef_beta
    if beta is not None and set(model.fusions) == {DESCRIPTION}:
        raise ValueError(
            f"generation.cfg_coef_beta is {beta}, but the model is conditioned on words alone: leave it null; it "
            "weighs words against a melody or other conditions"
        )
    groups = [list(rows)]
    if (config.cfg_coef != 1 or beta not in (None, 1)) and any(row is not None for row in rows):
        if beta is not None:
            groups.append([_without_words(row) for row in rows])
        groups.append([None] * len(rows))
    return groups


def _without_words(row: Values) -> Values:
    return None if row is None or isinstance(row, str) else {**row, DESCRIPTION: None}


def _next_logits(decode: Decoder, column_BKS: Tensor, num_groups: int, config: GenerationConfig) -> Tensor:
    """Guided logits [B, K, C] of the step after the new steps `column_BKS`, in float32."""
    full, *others = decode(torch.cat([column_BKS] * num_groups)).chunk(num_groups)
    if not others:
        return full
    if config.cfg_coef_beta is not None:
        full = guide(full, others[0], config.cfg_coef_beta)
    return guide(full, others[-1], config.cfg_coef)
