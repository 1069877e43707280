"""A conditioner's config -> the conditioner. One line per kind."""

from __future__ import annotations

from musicgen_core.conditioners.base import Conditioner
from musicgen_core.config.condition import (
    AttributeConditionConfig,
    ClapConditionConfig,
    ConditionConfig,
    NumberConditionConfig,
    StyleConditionConfig,
)
from musicgen_core.config.model import ConditionerConfig, LutConditionerConfig, T5ConditionerConfig


def build_conditioner(config: ConditionerConfig | ConditionConfig, output_dim: int) -> Conditioner:
    """`output_dim` is the language model's width. FileNotFoundError or ValueError when T5's folder is not one."""
    if isinstance(config, LutConditionerConfig):
        from musicgen_core.conditioners.lut import LutConditioner

        return LutConditioner(config, output_dim)
    if isinstance(config, T5ConditionerConfig):
        from musicgen_core.conditioners.t5 import T5Conditioner

        return T5Conditioner(config, output_dim)
    if isinstance(config, AttributeConditionConfig):
        from musicgen_core.conditioners.attribute import AttributeConditioner

        return AttributeConditioner(config, output_dim)
    if isinstance(config, NumberConditionConfig):
        from musicgen_core.conditioners.number import NumberConditioner

        return NumberConditioner(config, output_dim)
    if isinstance(config, ClapConditionConfig):
        from musicgen_core.conditioners.clap import ClapConditioner

        return ClapConditioner(config, output_dim)
    if isinstance(config, StyleConditionConfig):
        from musicgen_core.conditioners.style import StyleConditioner

        return StyleConditioner(config, output_dim)
    from musicgen_core.conditioners.chroma import ChromaConditioner

    return ChromaConditioner(config, output_dim)
