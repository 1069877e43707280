"""Small models with seeded weights, and transformers' MusicgenForCausalLM with the same weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from musicgen_core.conditioners.base import Condition
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.model import LutConditionerConfig, ModelConfig
from musicgen_core.config.pattern import (
    CoarseFirstPatternConfig,
    DelayPatternConfig,
    MusicLMPatternConfig,
    ParallelPatternConfig,
    PatternConfig,
    UnrollPatternConfig,
)
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.keymap import to_transformers
from musicgen_core.lm.model import LanguageModel, build_model

CODEC = CodecSpec(
    name="test", digest="0" * 32, sample_rate_hz=16000, num_channels=1, num_codebooks=4, card=40, hop_samples=320
)
MODEL = ModelConfig(dim=64, num_heads=4, num_layers=3)
CONDITIONER = LutConditionerConfig(num_bins=64, dim=16, max_words=8)


PATTERNS: list[PatternConfig] = [
    DelayPatternConfig(),
    DelayPatternConfig(delays=(0, 1, 3, 5)),
    DelayPatternConfig(delays=(1, 1, 2, 2), flatten_first=2, empty_initial=3),
    ParallelPatternConfig(kind="parallel"),
    UnrollPatternConfig(kind="unroll"),
    UnrollPatternConfig(kind="unroll", flattening=(0, 2, 2, 3), delays=(0, 1, 1, 2)),
    CoarseFirstPatternConfig(kind="coarse_first"),
    CoarseFirstPatternConfig(kind="coarse_first", delays=(0, 1, 2)),
    MusicLMPatternConfig(kind="musiclm"),
]
"""Every kind, for 4 codebooks, plain and with all that its keys can do."""


def make_model(num_codebooks: int = 4, seed: int = 0, **overrides: Any) -> LanguageModel:
    codec = replace(CODEC, num_codebooks=num_codebooks)
    model = build_model(replace(MODEL, **overrides), CONDITIONER, codec)
    initialize(model, seed)
    return model.eval()


def make_transformers(model: LanguageModel, audio_channels: int = 1) -> Any:
    from transformers import MusicgenForCausalLM
    from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

    dim, num_heads, num_layers = model.config.shape
    config = MusicgenDecoderConfig(
        vocab_size=model.card,
        num_hidden_layers=num_layers,
        ffn_dim=4 * dim,
        num_attention_heads=num_heads,
        hidden_size=dim,
        num_codebooks=model.num_codebooks,
        audio_channels=audio_channels,
        pad_token_id=model.card,
        bos_token_id=model.card,
        dropout=0.0,
    )
    other = MusicgenForCausalLM(config).eval()
    other.load_state_dict(to_transformers(model.state_dict()))
    other.generation_config.decoder_start_token_id = model.card
    return other


def random_sequence(model: LanguageModel, batch: int, num_steps: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, model.card + 1, (batch, model.num_codebooks, num_steps), generator=generator)


def random_condition(model: LanguageModel, lengths: list[int]) -> Condition:
    """Rows of the given lengths padded with zeros to the longest."""
    generator = torch.Generator().manual_seed(2)
    embeddings_BLD = torch.randn(len(lengths), max(1, *lengths), model.config.shape[0], generator=generator)
    mask_BL = torch.arange(embeddings_BLD.shape[1])[None] < torch.tensor(lengths)[:, None]
    return Condition(embeddings_BLD * mask_BL[..., None], mask_BL)
