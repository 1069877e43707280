"""The language model as a folder that `transformers.MusicgenForCausalLM.from_pretrained` loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from musicgen_core.config.pattern import DelayPatternConfig
from musicgen_core.lm.keymap import to_transformers
from musicgen_core.lm.model import LanguageModel

MASK_KEY = "mask_condition_padding"
"""Ours, in transformers' config.json: whether the weights were trained with padded text hidden. Meta's were not."""


def save_transformers(folder: Path, model: LanguageModel) -> None:
    """Write config.json, generation_config.json and model.safetensors (float32) into an existing folder.

    Without cross-attention it is a MusicgenMelodyForCausalLM. The conditioner has no place in it: its output goes in as
    `encoder_hidden_states`, its mask as `encoder_attention_mask` (leave that out for a model with
    `mask_condition_padding: false`).
    """
    from safetensors.torch import save_file
    from transformers import GenerationConfig

    config = decoder_config(model, melody=not any(fusion == "cross" for fusion in model.fusions.values()))
    config.save_pretrained(folder)
    GenerationConfig(
        pad_token_id=model.special,
        bos_token_id=model.special,
        decoder_start_token_id=model.special,
        do_sample=True,
        guidance_scale=3.0,
    ).save_pretrained(folder)
    state = {name: tensor.float().cpu() for name, tensor in to_transformers(model.state_dict()).items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def decoder_config(model: LanguageModel, melody: bool) -> Any:
    """transformers' MusicgenDecoderConfig, or MusicgenMelodyDecoderConfig, which has no cross-attention."""
    from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig
    from transformers.models.musicgen_melody.configuration_musicgen_melody import MusicgenMelodyDecoderConfig

    dim, num_heads, num_layers = model.config.shape
    kind = MusicgenMelodyDecoderConfig if melody else MusicgenDecoderConfig
    return kind(
        architectures=["MusicgenMelodyForCausalLM" if melody else "MusicgenForCausalLM"],
        vocab_size=model.card,
        hidden_size=dim,
        num_attention_heads=num_heads,
        num_hidden_layers=num_layers,
        ffn_dim=4 * dim,
        num_codebooks=model.num_codebooks,
        audio_channels=2 if is_stereo(model) else 1,
        dropout=model.config.dropout,
        attention_dropout=model.config.dropout,
        dtype="float32",
        pad_token_id=model.special,
        bos_token_id=model.special,
    )


def transformers_generates_alike(model: LanguageModel) -> bool:
    """Whether transformers' own `generate` uses the model's pattern: it knows MusicGen's mono and stereo delays."""
    mono = DelayPatternConfig(delays=tuple(range(model.num_codebooks)))
    return model.config.pattern == mono or is_stereo(model)


def is_stereo(model: LanguageModel) -> bool:
    """Whether the delays are those of stereo models: 0, 0, 1, 1, ..., left and right of each codebook together."""
    stereo = DelayPatternConfig(delays=tuple(k // 2 for k in range(model.num_codebooks)))
    return model.num_codebooks % 2 == 0 and model.config.pattern == stereo
