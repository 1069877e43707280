"""What is generated and measured after training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from musicgen_core.config.prompt import PromptConfig


@dataclass(frozen=True, kw_only=True)
class ContinuationConfig:
    """Music to go on from."""

    audio: str
    """Path of a recording, of any format, rate and number of channels that the corpora may have."""

    prompt_sec: float = 3.0
    """How much of it is given. The sample begins with this, as the codec renders it, and goes on."""

    start_sec: float = 0.0
    """Where the given part begins in the recording."""

    text: str | None = None
    """Words; null: none."""


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """Sampling. The defaults are AudioCraft's public ones, but for the duration."""

    prompts: tuple[str | PromptConfig, ...] = ()
    """What to generate from, besides the held-out captions of generate.jsonl: texts, or texts with a melody, a style or
    other conditions (text, melody, melody_start_sec, style, style_start_sec, conditions)."""

    continuations: tuple[ContinuationConfig, ...] = ()
    """Recordings whose beginning is continued, after the samples of `prompts` and captions."""

    duration_sec: float = 5.0
    """Of each sample; of a continuation with what it is given."""

    window_sec: float | None = None
    """Longer samples are generated in windows of this length, each going on from the last one's end; null: the
    segments that the model was trained on."""

    extend_stride_sec: float | None = None
    """How far each window advances; what lies behind it is what the next one hears. null: three fifths of the window,
    as MusicGen's 18 s of 30 s."""

    top_k: int = 250
    """Sample among the k likeliest codes; 0: all."""

    top_p: float = 0.0
    """Nucleus mass; above 0 it wins over top_k."""

    temperature: float = 1.0
    """0: greedy."""

    cfg_coef: float = 3.0
    """Classifier-free guidance scale; 1: off."""

    cfg_coef_beta: float | None = None
    """Double guidance, for models that are conditioned on more than words (AudioCraft's cfg_coef_beta): how much words
    weigh against the rest, logits = null + cfg_coef (rest + beta (all - rest) - null). 1 is plain guidance, at half as
    much work again; null: plain guidance."""

    seed: int = 0
    """Each sample's randomness is a function of (seed, sample number) alone."""

    device: Literal["auto", "cpu", "cuda"] = "auto"


def check_generation(config: GenerationConfig) -> None:
    """Raise ValueError, one line that goes on from the name of the section, unless lengths fit each other."""
    if config.duration_sec <= 0 or config.temperature < 0:
        raise ValueError(": duration_sec must be above 0 and temperature at least 0")
    window_sec, stride_sec = config.window_sec, config.extend_stride_sec
    if window_sec is not None and window_sec <= 0:
        raise ValueError(f".window_sec: {window_sec:g} must be above 0, or null for the model's own")
    if stride_sec is not None and (stride_sec <= 0 or (window_sec is not None and stride_sec >= window_sec)):
        below = f" and below window_sec {window_sec:g}" if window_sec is not None else ""
        raise ValueError(f".extend_stride_sec: {stride_sec:g} must be above 0{below}")
    for number, item in enumerate(config.continuations):
        name = f".continuations.{number} ({item.audio})"
        if not 0 < item.prompt_sec < config.duration_sec:
            raise ValueError(
                f"{name}: prompt_sec {item.prompt_sec:g} must be above 0 and below duration_sec "
                f"{config.duration_sec:g}, which counts from the beginning of what is given"
            )
        if item.start_sec < 0:
            raise ValueError(f"{name}: start_sec {item.start_sec:g} must not be negative")
    for number, prompt in enumerate(config.prompts):
        if isinstance(prompt, PromptConfig):
            for key in ("melody_start_sec", "style_start_sec"):
                if (start_sec := getattr(prompt, key)) < 0:
                    raise ValueError(f".prompts.{number}.{key}: {start_sec} must be at least 0")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Objective figures on the held-out split."""

    num_segments: int = 64
    """Fixed held-out segments for cross-entropy and the Fréchet distance."""

    batch_size: int = 8
    num_codec_seconds: float = 60.0
    """Held-out audio, in seconds, sent through the codec and back."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
