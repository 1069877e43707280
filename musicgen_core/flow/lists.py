"""Small files under results/plan that rules take as inputs: what a stage depends on, and long lists of paths.

Snakemake remembers parameters and sets of inputs in its folder .snakemake only. These files say the same in the
results, and are rewritten only when their content changes, so that nothing stale is reused when that folder is lost.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from musicgen_core.config.plain import to_plain
from musicgen_core.stages import STAGES
from musicgen_core.util.atomic import write_text_if_changed


def stage_text(stage: str, config: Any) -> str:
    """What a stage's results depend on besides their inputs: the stage's version and its part of the config."""
    return json.dumps({"config": to_plain(config), "version": STAGES[stage].version}, indent=1, sort_keys=True) + "\n"


def write_stage(folder: Path, stage: str, config: Any, name: str = "") -> None:
    """Write FOLDER/STAGE.json, or FOLDER/STAGE/NAME.json for a stage that has a config per corpus or run."""
    path = folder / stage / f"{name}.json" if name else folder / f"{stage}.json"
    write_text_if_changed(path, stage_text(stage, config))


def write_list(path: Path, folder: str, buckets: list[str], ending: str) -> None:
    """Write the paths of all buckets' files, one per line: an argument `@FILE` of the command line."""
    write_text_if_changed(path, "".join(f"{folder}/{bucket}{ending}\n" for bucket in buckets))
