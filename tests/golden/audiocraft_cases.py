"""What is computed by AudioCraft (run_audiocraft.py) and by this project (test_audiocraft_numbers.py) from one seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from small_models import CODEC, CONDITIONER, MODEL

from musicgen_core.config.condition import AttributeConditionConfig, ChromaConditionConfig, Fusion
from musicgen_core.config.pattern import (
    CoarseFirstPatternConfig,
    DelayPatternConfig,
    MusicLMPatternConfig,
    ParallelPatternConfig,
    PatternConfig,
    UnrollPatternConfig,
)
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model

Pattern = tuple[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A small model and what it is asked."""

    pattern: PatternConfig
    audiocraft_pattern: Pattern
    """Class and arguments in audiocraft/modules/codebooks_patterns.py."""

    words: Fusion = "cross"
    conditions: dict[str, Any] = field(default_factory=dict)
    rows: Sequence[Any]
    shape: tuple[int, int, int] = (64, 4, 3)
    """Width, heads, layers."""

    num_codebooks: int = 4
    num_frames: int = 9

    def build(self) -> LanguageModel:
        codec = replace(CODEC, num_codebooks=self.num_codebooks)
        dim, num_heads, num_layers = self.shape
        sizes = {"dim": dim, "num_heads": num_heads, "num_layers": num_layers}
        config = replace(MODEL, **sizes, pattern=self.pattern, conditions=self.conditions, mask_condition_padding=False)
        model = build_model(config, replace(CONDITIONER, fusion=self.words), codec)
        initialize(model, 11)
        with torch.no_grad():
            for linear in model.linears:
                linear.weight *= 4  # clear winners: greedy codes must not hang on the last bit
        return model.eval()

    def codes(self) -> torch.Tensor:
        generator = torch.Generator().manual_seed(5)
        shape = (len(self.rows), self.num_codebooks, self.num_frames)
        return torch.randint(0, CODEC.card, shape, generator=generator)

    def describe(self, logits_BKTC: torch.Tensor, mask_BKT: torch.Tensor, greedy_BKT: torch.Tensor) -> dict[str, Any]:
        """Means of -log p per codebook, some logits of each, and the greedy codes under guidance of 3."""
        codes_BKT = self.codes()
        losses = [
            torch.nn.functional.cross_entropy(logits_BKTC[:, k][mask], codes_BKT[:, k][mask]).item()
            for k, mask in enumerate(mask_BKT.unbind(1))
        ]
        return {
            "loss_per_codebook": losses,
            "counts": mask_BKT.sum((0, 2)).tolist(),
            "logits": logits_BKTC[:, :, 2, :3].flatten().tolist(),
            "greedy": greedy_BKT.tolist(),
        }


WORDS = ["slow rock with a piano", None, "fast"]
DELAY: Pattern = ("DelayedPatternProvider", {"delays": [0, 1, 2, 3]})
TUNE = torch.eye(12)[[0, 4, 7, 4, 0, 9]]
CHROMA = ChromaConditionConfig(kind="chroma", num_frames=6, absent="null")  # as AudioCraft trains


def attribute(fusion: Fusion) -> AttributeConditionConfig:
    return AttributeConditionConfig(kind="attribute", fusion=fusion)


CASES: dict[str, Case] = {
    "words, padding seen": Case(pattern=DelayPatternConfig(), audiocraft_pattern=DELAY, rows=WORDS),
    "stereo": Case(
        pattern=DelayPatternConfig(delays=(0, 0, 1, 1, 2, 2, 3, 3)),
        audiocraft_pattern=("DelayedPatternProvider", {"delays": [0, 0, 1, 1, 2, 2, 3, 3]}),
        rows=WORDS,
        num_codebooks=8,
    ),
    "melody and words in front": Case(
        pattern=DelayPatternConfig(),
        audiocraft_pattern=DELAY,
        words="prepend",
        conditions={"self_wav": CHROMA},
        rows=[{"description": "slow rock", "self_wav": TUNE}, None, {"description": "fast", "self_wav": None}],
    ),
    "sum and interpolation": Case(
        pattern=DelayPatternConfig(),
        audiocraft_pattern=DELAY,
        conditions={"key": attribute("sum"), "genre": attribute("input_interpolate"), "moods": attribute("cross")},
        rows=[{"description": "slow rock", "key": "a minor", "genre": "jazz", "moods": ["calm", "warm"]}, None],
    ),
    "parallel": Case(
        pattern=ParallelPatternConfig(kind="parallel"), audiocraft_pattern=("ParallelPatternProvider", {}), rows=WORDS
    ),
    "unroll": Case(
        pattern=UnrollPatternConfig(kind="unroll", flattening=(0, 1, 1, 1), delays=(0, 2, 2, 2)),
        audiocraft_pattern=("UnrolledPatternProvider", {"flattening": [0, 1, 1, 1], "delays": [0, 2, 2, 2]}),
        rows=WORDS,
    ),
    "coarse first": Case(
        pattern=CoarseFirstPatternConfig(kind="coarse_first", delays=(0, 1, 2)),
        audiocraft_pattern=("CoarseFirstPattern", {"delays": [0, 1, 2]}),
        rows=WORDS,
    ),
    "musiclm": Case(
        pattern=MusicLMPatternConfig(kind="musiclm"),
        audiocraft_pattern=("MusicLMPattern", {"group_by": 2}),
        rows=WORDS,
    ),
}


WIDE = Case(pattern=DelayPatternConfig(), audiocraft_pattern=DELAY, rows=WORDS, shape=(256, 4, 4))


PROBABILITIES = torch.tensor([0.05, 0.2, 0.1, 0.1, 0.3, 0.1, 0.02, 0.08, 0.05])
SAMPLING = {"k 1": (1, 0.0), "k 3, a tie": (3, 0.0), "k 7, a tie": (7, 0.0), "p 0.1": (0, 0.1), "p 0.55": (0, 0.55)}
"""top_k and top_p."""


def describe_weights(state: Mapping[str, torch.Tensor]) -> dict[str, list[float]]:
    """Standard deviation (0 where all are one value) and greatest magnitude by name."""
    return {name: [float(t.std()), float(t.abs().max())] for name, t in state.items()}


def make_weights() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(3, 4, generator=generator), torch.randn(5, generator=generator)]


def make_gradients() -> list[list[torch.Tensor]]:
    """Eight steps that pull the same way, so that D-Adaptation grows."""
    generator = torch.Generator().manual_seed(2)
    pull = [torch.randn(weight.shape, generator=generator) for weight in make_weights()]
    return [[p + 0.1 * torch.randn(p.shape, generator=generator) for p in pull] for _ in range(8)]


def learning_rates(rate: Callable[[int], float]) -> list[float]:
    """At W + 1, in the middle, at T and T + 1 of 20 and 100 steps."""
    return [rate(step) for step in (21, 60, 100, 101)]
