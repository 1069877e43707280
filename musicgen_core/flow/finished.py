"""Whether a job's outputs are there and whole although the SLURM job that it was part of failed.

Snakemake knows a group of jobs as one: when one of its buckets fails, or the group is cancelled, killed, or runs into
its time limit, it takes the outputs of all for damaged and removes them. The receipts tell which are not.

What a former snakemake made is not kept: Snakemake removes a job's old output when the job starts, which those that
were to follow the failed one never did, and it may be asked to make whole files anew (`-R`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from musicgen_core.flow import workers
from musicgen_core.stages import STAGES
from musicgen_core.util.receipt import Receipt, check_inputs, compare, read_receipt, receipt_path


def is_finished(stage: str, config: Any, outputs: Sequence[str]) -> bool:
    """Whether each output is what this stage, at its version of now and with this config, made of its inputs of now
    since this snakemake began, which `workers.register` noted.

    `config` are JSON values. Reads receipts, and of other files only those whose time differs from their receipt's.
    What cannot be read or told is not finished: to make it again costs time, to keep it would cost a remake.
    """
    try:
        return bool(outputs) and all(_is_made(stage, config, Path(output)) for output in outputs)
    except (OSError, ValueError):  # a file is gone or altered, or the disk fails
        return False


def _is_made(stage: str, config: Any, output: Path) -> bool:
    receipt = read_receipt(output)
    if receipt is None or (receipt.stage, receipt.stage_version) != (stage, STAGES[stage].version):
        return False
    seal = receipt.outputs.get(output.name)
    if seal is None or receipt.config != config or not _is_of_this_run(output, receipt) or compare(output, seal):
        return False
    return check_inputs([Path(path) for path in receipt.inputs]) == receipt.inputs


def _is_of_this_run(output: Path, receipt: Receipt) -> bool:
    """Whether the command that made an output began after this snakemake did. Raises ValueError if that is not known.

    Both times are those of files, and on one file system: on NFS the server's clock sets both; elsewhere a node's may.
    The clock of a node that is behind loses outputs; one that is ahead by less than an old command took keeps none.
    """
    return receipt_path(output).stat().st_mtime - receipt.seconds > workers.begun_sec()
