"""Whether weights are those of a model: every name and every shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def check_fit(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str, remedy: str = "") -> None:
    """Raise ValueError that names `source` and every weight that is missing, unexpected or of another shape."""
    shapes = [
        f"{name} is {list(state[name].shape)}, the model has {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    _refuse(source, set(expected) - set(state), set(state) - set(expected), shapes, remedy)


def check_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Raise ValueError that names `source` and every tensor with NaN or infinity."""
    if bad := find_non_finite(state):
        raise ValueError(
            f"{source}: weights with NaN or infinity: {', '.join(bad)}; the training diverged or the file was made "
            "from such weights: take an earlier checkpoint or another copy"
        )


@torch.no_grad()
def find_non_finite(state: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors with NaN or infinity; one pass over each, nothing is copied."""
    real = {name: t for name, t in state.items() if t.is_floating_point() and t.numel() and not t.is_meta}
    return [name for name, t in real.items() if not all(bool(end.isfinite()) for end in torch.aminmax(t))]


def check_loaded(report: Mapping[str, Iterable[Any]], folder: Path, remedy: str, surplus: bool = False) -> None:
    """The same of what transformers' `from_pretrained` has loaded: it makes up what is missing, with a warning only.

    `report` is `output_loading_info`'s with `ignore_mismatched_sizes`. `surplus`: weights that the model has no use for
    may be there, such as the decoder of a T5 of which the encoder is wanted.
    """
    shapes = [
        f"{name} is {list(theirs)}, the model has {list(ours)}" for name, theirs, ours in report["mismatched_keys"]
    ]
    unexpected = () if surplus else report["unexpected_keys"]
    _refuse(str(folder), report["missing_keys"], unexpected, shapes, remedy)


def _refuse(source: str, missing: Iterable[str], unexpected: Iterable[str], shapes: list[str], remedy: str) -> None:
    problems = {"missing": sorted(missing), "unexpected": sorted(unexpected), "of another shape": sorted(shapes)}
    if any(problems.values()):
        lines = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in problems.items() if names)
        raise ValueError(f"{source}: weights do not fit the model. {lines}{remedy and f'. {remedy}'}")
