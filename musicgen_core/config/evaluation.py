"""What is generated and measured after training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from musicgen_core.config.prompt import PromptConfig


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """Sampling. The defaults are AudioCraft's public ones, but for the duration."""

    prompts: tuple[str | PromptConfig, ...] = ()
    """What to generate from, besides the held-out captions of generate.jsonl: texts, or texts with a melody or other
    conditions (text, melody, melody_start_sec, conditions)."""

    duration_sec: float = 5.0
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

    @property
    def melodies(self) -> list[str]:
        """Paths of all audio files that prompts follow."""
        return [prompt.melody for prompt in self.prompts if isinstance(prompt, PromptConfig) and prompt.melody]


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Objective figures on the held-out split."""

    num_segments: int = 64
    """Fixed held-out segments for cross-entropy and the Fréchet distance."""

    batch_size: int = 8
    num_codec_seconds: float = 60.0
    """Held-out audio, in seconds, sent through the codec and back."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
