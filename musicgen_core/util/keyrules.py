"""Names of weights in two layouts, as data: a rule pairs a name on our side with one or more names on theirs.

`{n}` and `{m}` in a rule stand for numbers and are the same on both sides. Several names on their side are the parts,
by rows, of one weight on ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

Rule = tuple[str, tuple[str, ...]]


def to_theirs(state: Mapping[str, Tensor], rules: Sequence[Rule], where: str) -> dict[str, Tensor]:
    """Our state in their names. KeyError names every weight without a counterpart in `where`."""
    converted: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in state.items():
        targets = next((found for ours, theirs in rules if (found := _fill(name, ours, theirs))), None)
        if targets is None:
            unknown.append(name)
        else:
            converted.update(zip(targets, tensor.chunk(len(targets)), strict=True))
    if unknown:
        raise KeyError(f"{', '.join(sorted(unknown))}: no counterpart in {where}")
    return {name: tensor.contiguous() for name, tensor in converted.items()}


def split_unknown(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Their state -> (weights that the rules know, weights that they do not)."""
    templates = [template for _, theirs in rules for template in theirs]
    known = {name for name in state if any(_pattern(template).fullmatch(name) for template in templates)}
    return {n: t for n, t in state.items() if n in known}, {n: t for n, t in state.items() if n not in known}


def to_ours(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> dict[str, Tensor]:
    """Their state in our names. KeyError names every weight that is unknown.

    A weight of which a part is missing is left out, to be named by the strict load.
    """
    converted: dict[str, Tensor] = {}
    used: set[str] = set()
    for name in state:
        for ours, theirs in rules:
            if found := _fill(name, theirs[0], (ours, *theirs)):
                target, *parts = found
                used |= set(parts)
                if all(part in state for part in parts):
                    tensors = [state[part] for part in parts]
                    converted[target] = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
    if unknown := sorted(set(state) - used):
        raise KeyError(f"no counterpart here for {', '.join(unknown)}")
    return converted


def _fill(name: str, template: str, targets: Sequence[str]) -> tuple[str, ...] | None:
    """The targets with the numbers that `name` has in the template's places; None when it does not fit."""
    found = _pattern(template).fullmatch(name)
    if found is None:
        return None
    numbers = found.groupdict()
    return tuple(re.sub(r"\{([nm])\}", lambda place: numbers[place[1]], target) for target in targets)


@lru_cache(maxsize=1024)
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{([nm])\\\}", r"(?P<\1>\\d+)", re.escape(template)))
