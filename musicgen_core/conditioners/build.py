"""A conditioner's config -> the conditioner. One line per kind."""

from __future__ import annotations

from musicgen_core.conditioners.base import Conditioner
from musicgen_core.config.model import ConditionerConfig, LutConditionerConfig


def build_conditioner(config: ConditionerConfig, output_dim: int) -> Conditioner:
    """`output_dim` is the language model's width. FileNotFoundError or ValueError when T5's folder is not one."""
    if isinstance(config, LutConditionerConfig):
        from musicgen_core.conditioners.lut import LutConditioner

        return LutConditioner(config, output_dim)
    from musicgen_core.conditioners.t5 import T5Conditioner

    return T5Conditioner(config, output_dim)
