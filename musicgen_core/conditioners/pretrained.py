"""Frozen models of transformers, from a local folder's safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from musicgen_core.util.fit import check_loaded


def load_frozen(kind: Any, folder: Path, unused: str | None = None, **options: Any) -> Any:
    """`kind.from_pretrained(folder)` in float32, without gradients, for inference; no network, no pickle.

    ValueError names every weight that is missing or of another shape (transformers would make it up), but for missing
    ones with `unused` in their names. Weights that the model has no use for may be there.
    """
    model, report = kind.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **options,
    )
    missing = [name for name in report["missing_keys"] if unused is None or unused not in name]
    check_loaded({**report, "missing_keys": missing}, folder, "Fetch or copy the folder again", surplus=True)
    return model.eval().requires_grad_(False)
