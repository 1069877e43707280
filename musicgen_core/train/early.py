"""Whether a run may end before its last step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from musicgen_core.config.optimization import EarlyStoppingConfig


def has_converged(history: Iterable[dict[str, Any]], config: EarlyStoppingConfig) -> bool:
    """Whether the last `patience` validations were all no better than the best before them.

    A pure function of the lines of history.jsonl, so that a resumed run ends where the undisturbed one does. What came
    before the run was last extended does not count: whoever extends it wants more steps.
    """
    best, num_worse = math.inf, 0
    for line in history:
        if line["kind"] == "extend":
            best, num_worse = math.inf, 0
        elif line["kind"] == "valid":
            better = line["loss"] < best - config.min_delta
            best, num_worse = (line["loss"], 0) if better else (best, num_worse + 1)
    return num_worse >= config.patience
