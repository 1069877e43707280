"""Whether a job's outputs are there and whole although the SLURM job that it was part of failed.

Snakemake knows a group of jobs as one: when one of its buckets fails, or the group is cancelled, killed, or runs into
its time limit, it takes the outputs of all for damaged and removes them. The receipts tell which are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from musicgen_core.stages import STAGES
from musicgen_core.util.receipt import check_inputs, compare, read_receipt


def is_finished(stage: str, config: Any, outputs: Sequence[str]) -> bool:
    """Whether each output is what this stage, at its version of now and with this config, made of its inputs of now.

    `config` are JSON values. Reads receipts, and of other files only those whose time differs from their receipt's.
    """
    return bool(outputs) and all(_is_made(stage, config, Path(output)) for output in outputs)


def _is_made(stage: str, config: Any, output: Path) -> bool:
    receipt = read_receipt(output)
    if receipt is None or (receipt.stage, receipt.stage_version) != (stage, STAGES[stage].version):
        return False
    seal = receipt.outputs.get(output.name)
    if seal is None or receipt.config != config or compare(output, seal):
        return False
    try:
        return check_inputs([Path(path) for path in receipt.inputs]) == receipt.inputs
    except (OSError, ValueError):  # an input is gone or altered
        return False
