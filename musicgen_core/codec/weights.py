"""Weights into a module, with an error that says what does not fit."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from musicgen_core.util.fit import check_fit

REMEDY = "config.json and the weights are of different codecs; copy both from one place"


def load_strict(model: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    """Load a state dict whose names and shapes must be the model's. ValueError names the file and every tensor."""
    check_fit(model.state_dict(), state, str(path), REMEDY)
    model.load_state_dict(state)
