"""What of a model another project's layout cannot express, in words for the user."""

from __future__ import annotations

from musicgen_core.config.condition import ChromaConditionConfig
from musicgen_core.layouts.chroma_keys import MELODY, melody_notes
from musicgen_core.lm.card import describe_pattern
from musicgen_core.lm.interchange import transformers_generates_alike
from musicgen_core.lm.model import DESCRIPTION, LanguageModel


def is_melody(model: LanguageModel) -> bool:
    """Words and chroma as a prefix: what MusicGen Melody is."""
    return model.fusions == {DESCRIPTION: "prepend", "self_wav": "prepend"} and isinstance(
        model.config.conditions["self_wav"], ChromaConditionConfig
    )


def transformers_obstacles(model: LanguageModel) -> list[str]:
    """Why transformers' composite model cannot hold it; empty when it can."""
    if model.fusions == {DESCRIPTION: "cross"} or is_melody(model):
        return []
    shown = ", ".join(f"{name} by {fusion}" for name, fusion in model.fusions.items())
    takes = "words by cross-attention, or words and melody as a prefix"
    return [f"transformers' MusicGen takes {takes}; this model has {shown}"]


def generation_notes(model: LanguageModel) -> list[str]:
    """What differs in transformers' own `generate` although the weights fit."""
    notes = []
    if not transformers_generates_alike(model):
        notes.append(
            f"its `generate` knows MusicGen's delays only, not {describe_pattern(model)}: `musicgen generate` is right "
            "for this model, and transformers for its logits"
        )
    if not model.config.mask_condition_padding and not is_melody(model):
        notes.append(
            "this model was trained to see padding as zeros, transformers hides it: give it captions one by one, or of "
            "equally many tokens"
        )
    chroma = model.config.conditions.get(MELODY)
    if is_melody(model) and isinstance(chroma, ChromaConditionConfig):
        notes += melody_notes(chroma, "transformers")
    return notes
