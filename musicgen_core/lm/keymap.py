"""Names of the weights: AudioCraft's, which are ours, and transformers' MusicgenForCausalLM's. As data, both ways.

Transformers splits each fused `in_proj_weight` [3D, D] into q, k and v of [D, D].
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

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

CONDITIONER_PREFIX = "condition_provider."
"""Our weights under this prefix belong to no part of MusicgenForCausalLM; they are left out of its state."""


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our state -> MusicgenForCausalLM's, without the conditioner. KeyError names a weight that has no counterpart."""
    converted: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith(CONDITIONER_PREFIX):
            continue
        targets = next((found for ours, theirs in _RULES if (found := _match(name, ours, theirs))), None)
        if targets is None:
            raise KeyError(f"{name}: no counterpart in transformers' MusicgenForCausalLM")
        converted.update(zip(targets, tensor.chunk(len(targets)), strict=True))
    return {name: tensor.contiguous() for name, tensor in converted.items()}


def from_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """MusicgenForCausalLM's state -> ours, without the conditioner. KeyError names every weight that is unknown.

    A fused weight of which a part is missing is left out, to be named by the strict load.
    """
    converted, used = {}, set()
    for name in state:
        for ours, theirs in _RULES:
            if found := _match(name, theirs[0], (ours, *theirs)):
                target, *parts = found
                used |= set(parts)
                if all(part in state for part in parts):
                    converted[target] = torch.cat([state[part] for part in parts])
    if unknown := sorted(set(state) - used):
        raise KeyError(f"no counterpart here for {', '.join(unknown)}")
    return converted


_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (*((ours, (theirs,)) for ours, theirs in RENAMED), *SPLIT)


def _match(name: str, template: str, targets: tuple[str, ...]) -> tuple[str, ...] | None:
    """The targets with the number that `name` has in the template's place; None when it does not fit."""
    found = re.fullmatch(re.escape(template).replace(r"\{n\}", r"(\d+)"), name)
    if found is None:
        return None
    number = found[1] if found.groups() else ""
    return tuple(target.replace("{n}", number) for target in targets)
