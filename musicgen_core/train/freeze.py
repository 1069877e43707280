"""Weights that a run leaves as they are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from torch import nn

from musicgen_core.config.freezing import GROUPS, LAYERS, names_parameter


def freeze(model: nn.Module, patterns: Sequence[str]) -> int:
    """Switch the gradient of matching parameters off; -> number of weights that are still trained.

    A pattern is a group, `layers A-B` (both included, from 0) or a shell pattern of parameter names. Raises ValueError
    for one that matches no parameter, and when nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        found = [name for name in parameters if names_parameter(pattern, name)]
        if not found:
            raise ValueError(f"training.freeze: {_explain(pattern, parameters)}")
        for name in found:
            parameters[name].requires_grad_(False)
    left = sum(p.numel() for p in parameters.values() if p.requires_grad)
    if not left:
        raise ValueError("training.freeze: every parameter is frozen; leave something to train")
    return left


def _explain(pattern: str, names: dict[str, nn.Parameter]) -> str:
    if LAYERS.fullmatch(pattern):
        numbers = {int(found[1]) for name in names if (found := re.match(r"transformer\.layers\.(\d+)\.", name))}
        return f"`{pattern}` matches no parameter: there are layers 0-{max(numbers)}"
    near = difflib.get_close_matches(pattern, [*GROUPS, *names], n=1, cutoff=0.0)[0]
    return f"`{pattern}` matches no parameter; did you mean `{near}`? Groups: {', '.join(GROUPS)}, layers A-B"
