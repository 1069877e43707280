"""Generation beyond the length that a model was trained on: window after window, each continuing the last one's end.

AudioCraft's way (models/genmodel.py, `extend_stride`; 30 s windows that advance by 18 s): the first window is generated
as any sample, each later one is given the codes that it shares with the one before as a prompt. No code is drawn twice,
and none that is known is drawn again.

Legend: B batch, K codebooks, T frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.lm.generate import check_prompt, generate
from musicgen_core.lm.model import LanguageModel, Values


@dataclass(frozen=True)
class Window:
    """Frames that are generated at once."""

    first: int
    end: int
    """One past the last."""

    num_known: int
    """Frames at its beginning that are given."""


def plan_windows(num_frames: int, window_frames: int, stride_frames: int, num_known: int = 0) -> list[Window]:
    """Windows that fill `num_frames`, of which the first `num_known` are given.

    Each has `window_frames`, the last what is left; each after the first keeps `window_frames - stride_frames` of what
    is there already. One window when all fits in. Raises ValueError unless 0 < stride < window and known < frames.
    """
    if not 0 < stride_frames < window_frames:
        raise ValueError(
            f"a stride of {stride_frames} frames does not fit a window of {window_frames}: it must be at least 1 and "
            "less than the window (generation.extend_stride_sec, generation.window_sec)"
        )
    if not 0 <= num_known < num_frames:
        raise ValueError(f"{num_known} frames are given and {num_frames} asked for; ask for more than is given")
    windows = []
    while num_known < num_frames:
        first = max(0, num_known - (window_frames - stride_frames)) if num_known >= window_frames else 0
        end = min(first + window_frames, num_frames)
        windows.append(Window(first, end, num_known - first))
        num_known = end
    return windows


def generate_long(
    model: LanguageModel,
    captions: Sequence[Values],
    num_frames: int,
    config: GenerationConfig,
    *,
    window_frames: int,
    stride_frames: int,
    on_step: Callable[[int, int], None] | None = None,
    first_sample: int = 0,
    prompt_BKT: Tensor | None = None,
) -> Tensor:
    """`generate`, in windows where `num_frames` are more than `window_frames`; -> codes_BKT of exactly `num_frames`.

    What fits into one window is exactly what `generate` gives. Each window draws its own randomness, a function of
    (config.seed, sample, window). `on_step(done, total)` counts the steps of all windows. Conditions are the same in
    each. Raises ValueError as `generate` and `plan_windows` do.
    """
    check_prompt(model, prompt_BKT, len(captions), num_frames)
    windows = plan_windows(num_frames, window_frames, stride_frames, 0 if prompt_BKT is None else prompt_BKT.shape[2])
    total = sum(count_steps(model, window) for window in windows)
    codes_BKT = prompt_BKT
    before = 0
    for number, window in enumerate(windows):

        def tick(done: int, _: int, before: int = before) -> None:
            if on_step is not None:
                on_step(before + done, total)

        known_BKT = codes_BKT[:, :, window.first :] if codes_BKT is not None else None
        new_BKT = generate(
            model,
            captions,
            window.end - window.first,
            config,
            on_step=tick,
            first_sample=first_sample,
            prompt_BKT=known_BKT,
            window=number,
        )
        codes_BKT = (
            new_BKT if codes_BKT is None else torch.cat([codes_BKT.to(new_BKT), new_BKT[:, :, window.num_known :]], 2)
        )
        before += count_steps(model, window)
    assert codes_BKT is not None
    return codes_BKT


def count_steps(model: LanguageModel, window: Window) -> int:
    """Steps that `generate` reports for a window."""
    return model.pattern(window.end - window.first).num_steps - 1
