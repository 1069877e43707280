"""Weights into a module, with an error that says what does not fit."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn


def load_strict(model: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load a state dict whose names and shapes must be the model's. ValueError names file and tensor."""
    own = model.state_dict()
    remedy = "config.json and weights are of different codecs; copy both from one place"
    missing, surplus = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or surplus:
        first = f"{missing[0]} is missing" if missing else f"{surplus[0]} is unknown"
        raise ValueError(f"{path}: {len(missing)} tensors missing, {len(surplus)} unknown ({first}); {remedy}")
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, config.json asks for {tuple(own[name].shape)}; "
                f"{remedy}"
            )
    model.load_state_dict(state)
