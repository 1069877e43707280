"""The frozen models that a language model hears and reads through. An export names them; it holds no copy of them."""

from __future__ import annotations

from collections.abc import Mapping

from musicgen_core.config.condition import (
    ChromaConditionConfig,
    ClapConditionConfig,
    ConditionConfig,
    StyleConditionConfig,
)
from musicgen_core.config.extractor import PretrainedExtractorConfig
from musicgen_core.config.model import ConditionerConfig, T5ConditionerConfig


def list_outside(conditioner: ConditionerConfig, conditions: Mapping[str, ConditionConfig]) -> list[str]:
    """One line for the user about each of them: what it is for, where it must lie."""
    named: list[tuple[str, str, str | None]] = []
    if isinstance(conditioner, T5ConditionerConfig):
        named.append(("the text encoder of the words", conditioner.path, conditioner.revision))
    for name, condition in sorted(conditions.items()):
        if isinstance(condition, ClapConditionConfig):
            named.append((f"the CLAP model of condition {name}", condition.path, condition.revision))
        elif isinstance(condition, StyleConditionConfig):
            heard = condition.extractor
            if isinstance(heard, PretrainedExtractorConfig):
                named.append((f"the feature extractor of condition {name}", heard.path, heard.revision))
        elif isinstance(condition, ChromaConditionConfig) and condition.separate is not None:
            named.append(
                (f"the stem separator of condition {name}", condition.separate.path, condition.separate.revision)
            )
    return [_describe(*one) for one in named]


def _describe(what: str, path: str, revision: str | None) -> str:
    if revision is not None:
        return f"lacks {what}, {path}@{revision[:8]}: to use it elsewhere, bring that into the store (musicgen fetch)"
    return (
        f"lacks {what}, {path}: to use it elsewhere, take that folder along, to the same path seen from the working "
        "directory, or write its new path into config.json"
    )
