"""A run that goes on where a shorter one ended."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from musicgen_core.config.training import TrainingConfig
from musicgen_core.train.checkpoint import TornError, read_manifest
from musicgen_core.train.ranks import Refused
from musicgen_core.train.schedule import ENDLESS, learning_rate
from musicgen_core.util.atomic import write_jsonl
from musicgen_core.util.log import say


def take_over(parent: Path, run_dir: Path, config: TrainingConfig) -> None:
    """Give a run that has no checkpoint the newest one of `parent`, its best weights and its history; says so.

    Nothing changes in `parent`. On the first process only. Raises Refused when it holds no sound checkpoint.
    """
    folder = run_dir / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob("step-*")):
        return
    newest, manifest = _find_sound(parent, "step")
    step = manifest["step"]
    lines = (parent / "history.jsonl").read_text(encoding="utf-8").splitlines()
    history = [json.loads(line) for line in lines]
    history = [line for line in history if line["step"] <= step]
    write_jsonl(run_dir / "history.jsonl", [*history, {"kind": "extend", "step": step, "from": parent.name}])
    for source in (_find_sound(parent, "best")[0], newest):  # the newest last: it says that the others are there
        temporary = folder / f".{source.name}"
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(source, temporary, copy_function=_link)
        os.replace(temporary, folder / source.name)
    old = replace(config, steps=config.extend_from[-1])
    before, after = learning_rate(max(0, step - 1), old), learning_rate(step, config)
    rate = (
        f"the schedule {config.schedule.kind} does not depend on the number of steps: it goes on at {after:.3g}"
        if isinstance(config.schedule, ENDLESS)
        else f"the learning rate was {before:.3g} there, at the end of a schedule of {old.steps} steps, and is "
        f"{after:.3g} now, as in one of {config.steps}"
    )
    say(
        f"train: extends {parent.name} from step {step} to {config.steps}: weights, optimizer state, average and place "
        f"in the data go on; {rate}"
    )


def _find_sound(run_dir: Path, kind: str) -> tuple[Path, dict[str, Any]]:
    for folder in sorted((run_dir / "checkpoints").glob(f"{kind}-*"), reverse=True):
        try:
            return folder, read_manifest(folder)
        except TornError as error:
            say(f"train: {folder} is not used: {error}")
    raise Refused(
        f"{run_dir}/checkpoints holds no sound {kind} checkpoint to go on from; train that run again, or take "
        "training.extend_from out"
    )


def _link(source: str, target: str) -> None:
    """The same file under a second name, which costs no space: files of a checkpoint never change."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
