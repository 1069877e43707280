"""Names of the weights: AudioCraft's, which are ours, and transformers' MusicgenForCausalLM's. As data, both ways.

Transformers splits each fused `in_proj_weight` [3D, D] into q, k and v of [D, D].
"""

from __future__ import annotations

from torch import Tensor

from musicgen_core.util.keyrules import Rule, to_ours, to_theirs

# (ours, transformers'); {n} is a number and is the same on both sides
RENAMED: tuple[tuple[str, str], ...] = (
    ("emb.{n}.weight", "model.decoder.embed_tokens.{n}.weight"),
    ("transformer.layers.{n}.self_attn.out_proj.weight", "model.decoder.layers.{n}.self_attn.out_proj.weight"),
    ("transformer.layers.{n}.cross_attention.out_proj.weight", "model.decoder.layers.{n}.encoder_attn.out_proj.weight"),
    ("transformer.layers.{n}.linear1.weight", "model.decoder.layers.{n}.fc1.weight"),
    ("transformer.layers.{n}.linear2.weight", "model.decoder.layers.{n}.fc2.weight"),
    ("transformer.layers.{n}.norm1.weight", "model.decoder.layers.{n}.self_attn_layer_norm.weight"),
    ("transformer.layers.{n}.norm1.bias", "model.decoder.layers.{n}.self_attn_layer_norm.bias"),
    ("transformer.layers.{n}.norm_cross.weight", "model.decoder.layers.{n}.encoder_attn_layer_norm.weight"),
    ("transformer.layers.{n}.norm_cross.bias", "model.decoder.layers.{n}.encoder_attn_layer_norm.bias"),
    ("transformer.layers.{n}.norm2.weight", "model.decoder.layers.{n}.final_layer_norm.weight"),
    ("transformer.layers.{n}.norm2.bias", "model.decoder.layers.{n}.final_layer_norm.bias"),
    ("out_norm.weight", "model.decoder.layer_norm.weight"),
    ("out_norm.bias", "model.decoder.layer_norm.bias"),
    ("linears.{n}.weight", "lm_heads.{n}.weight"),
)

# (ours, transformers' three in the order of our rows)
SPLIT: tuple[tuple[str, tuple[str, str, str]], ...] = (
    (
        "transformer.layers.{n}.self_attn.in_proj_weight",
        (
            "model.decoder.layers.{n}.self_attn.q_proj.weight",
            "model.decoder.layers.{n}.self_attn.k_proj.weight",
            "model.decoder.layers.{n}.self_attn.v_proj.weight",
        ),
    ),
    (
        "transformer.layers.{n}.cross_attention.in_proj_weight",
        (
            "model.decoder.layers.{n}.encoder_attn.q_proj.weight",
            "model.decoder.layers.{n}.encoder_attn.k_proj.weight",
            "model.decoder.layers.{n}.encoder_attn.v_proj.weight",
        ),
    ),
)

# the composite model's projections: of the words, and of the melody
PROJECTIONS: tuple[tuple[str, str], ...] = (
    ("condition_provider.conditioners.description.output_proj.weight", "enc_to_dec_proj.weight"),
    ("condition_provider.conditioners.description.output_proj.bias", "enc_to_dec_proj.bias"),
    ("condition_provider.conditioners.self_wav.output_proj.weight", "audio_enc_to_dec_proj.weight"),
    ("condition_provider.conditioners.self_wav.output_proj.bias", "audio_enc_to_dec_proj.bias"),
)

CONDITIONER_PREFIX = "condition_provider."
"""Our weights under this prefix belong to no part of MusicgenForCausalLM; they are left out of its state."""

RULES: tuple[Rule, ...] = (*((ours, (theirs,)) for ours, theirs in RENAMED), *SPLIT)
PROJECTION_RULES: tuple[Rule, ...] = tuple((ours, (theirs,)) for ours, theirs in PROJECTIONS)


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our state -> MusicgenForCausalLM's, without the conditioners. KeyError names weights without a counterpart.

    MusicgenMelodyForCausalLM has the same names, without cross-attention's.
    """
    decoder = {name: tensor for name, tensor in state.items() if not name.startswith(CONDITIONER_PREFIX)}
    return to_theirs(decoder, RULES, "transformers' MusicgenForCausalLM")


def from_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """MusicgenForCausalLM's state -> ours, without the conditioners. KeyError names every weight that is unknown.

    A fused weight of which a part is missing is left out, to be named by the strict load.
    """
    return to_ours(state, RULES)
