"""Which folder a run lives in, and which run came before it.

A folder is called NAME-SIGNATURE. The signature finds it: after a renaming the run keeps its folder, and the old name
in front of the signature is a label only. A run of the same name, trained under the same settings on other data, is its
predecessor.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.execution import pick_execution, without_execution
from musicgen_core.config.load import from_record
from musicgen_core.config.places import is_same_elsewhere
from musicgen_core.config.root import RunConfig, TrainStageConfig, project_train
from musicgen_core.flow.ancestors import Kinship
from musicgen_core.flow.facts import read_facts
from musicgen_core.flow.signature import SHOWN_DIGITS, as_signed
from musicgen_core.stages import STAGES


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run and where it lives."""

    key: str
    """Its name in the config; NAME@STEPS for a run that another one extends."""

    name: str
    signature: str
    folder: str
    """Name of its folder below results/runs."""

    begun: bool
    """Training has started there: the folder holds a config.json."""

    done: bool

    continues: str | None
    """Folder of the run whose weights this one starts from; fixed once training has begun."""

    predecessor: str | None
    """Folder of the newest training under the same name and settings on other data; None once this one has begun."""

    extends: str | None = None
    """Folder of the run that this one makes longer."""

    starts: str | None = None
    """Folder of the run whose best weights this one starts from."""

    start_digest: str | None = None
    """Digest of the weights that this one starts from, another run's or a path's."""

    @property
    def parents(self) -> list[str]:
        """Folders of runs that must be trained before this one."""
        return [folder for folder in (self.extends, self.starts) if folder is not None]


def place_runs(runs: dict[str, RunConfig], kin: Kinship, runs_dir: Path, codec: CodecSpec) -> dict[str, PlannedRun]:
    """Find each run's folder, by name and signature, else by signature alone, else it is a new one. By key.

    A run that is there under its former signature keeps that. Two runs never share a folder. Reads names and the small
    config.json of candidates; changes nothing.
    """
    there = {path.name: path for path in sorted(runs_dir.glob("*-*")) if _has_begun(path)}
    digits = {_split(folder)[1] for folder in there}
    signatures = {}
    for key, signature in kin.signatures.items():
        both = (kin.former[key], signature)
        signatures[key] = next((one for one in both if one[:SHOWN_DIGITS] in digits), signature)
    folders = {key: f"{runs[key].name}-{signature[:SHOWN_DIGITS]}" for key, signature in signatures.items()}
    taken = {folder for folder in folders.values() if folder in there}
    for name, signature in signatures.items():
        if folders[name] in there:
            continue
        same = [folder for folder in there if _split(folder)[1] == signature[:SHOWN_DIGITS] and folder not in taken]
        if same:
            folders[name] = min(same, key=lambda folder: (not (there[folder] / "DONE").exists(), folder))
            taken.add(folders[name])
    return {key: _describe(key, runs[key], kin, signatures, folders, there, runs_dir, codec) for key in signatures}


def _describe(
    key: str,
    run: RunConfig,
    kin: Kinship,
    signatures: dict[str, str],
    folders: dict[str, str],
    there: dict[str, Path],
    runs_dir: Path,
    codec: CodecSpec,
) -> PlannedRun:
    folder = folders[key]
    begun = folder in there
    predecessor, continues = None, None
    if begun:
        continues = _read_config(there[folder]).get("continued_from")
    else:
        predecessor = _find_predecessor(run, there, codec, kin.facts[key], runs_dir.parent / "plan")
        continues = predecessor if run.on_changed_data == "continue" else None
    apart = continues is not None  # it starts from its predecessor, who had started from the others
    return PlannedRun(
        key=key,
        name=run.name,
        signature=signatures[key],
        folder=folder,
        begun=begun,
        done=(runs_dir / folder / "DONE").exists(),
        continues=continues,
        predecessor=predecessor,
        extends=None if apart or key not in kin.extends else folders[kin.extends[key]],
        starts=None if apart or key not in kin.starts else folders[kin.starts[key]],
        start_digest=_find_start(key, kin, signatures),
    )


def _find_start(key: str, kin: Kinship, signatures: dict[str, str]) -> str | None:
    """Digest of what a run starts from, as its own signature holds it."""
    former = signatures[key] != kin.signatures[key] and key in kin.starts
    return kin.former[kin.starts[key]] if former else kin.digests.get(key)


def _find_predecessor(
    run: RunConfig, there: dict[str, Path], codec: CodecSpec, facts: dict[str, Any], plan_dir: Path
) -> str | None:
    settings = project_train(as_signed(run), codec)
    facts = json.loads(json.dumps(facts))  # as they are read
    candidates = []
    for folder, path in there.items():
        if _split(folder)[0] == run.name and any(path.glob("checkpoints/step-*")):
            config = _read_config(path)
            known = read_facts(plan_dir, folder)  # these tell new weights in an old place, which settings do not
            if known == facts:
                continue  # it was computed otherwise
            same = _trained(run, known) == _trained(run, facts) if known else _settings(config) == settings
            if same and config.get("stage_version") == STAGES["train"].version:
                candidates.append((path.joinpath("config.json").stat().st_mtime_ns, folder))
    return max(candidates)[1] if candidates else None


def _trained(run: RunConfig, facts: dict[str, Any]) -> dict[str, Any]:
    """Facts of a training but for its data, which those of a run that it starts from hold, too."""
    train: dict[str, Any] = facts["train"]
    init = train["training"].get("init_from")
    if init is None or run.training.init_from is None or run.training.init_from.run is None:
        return train
    return {**train, "training": {**train["training"], "init_from": init[1:]}}


def _settings(config: dict[str, Any]) -> TrainStageConfig | None:
    """What a run is, whichever way it was computed; None for a record that is torn, or of keys that are no more."""
    try:
        found = from_record(config)
        return replace(found, training=without_execution(found.training))
    except ValueError:
        return None


def as_trained(config: TrainStageConfig, run_dir: Path) -> TrainStageConfig:
    """A trained run's config, computed as its record says, with frozen models and weights where they lay: neither
    another way nor another place makes anything stale."""
    try:
        former = from_record(_read_config(run_dir))
    except ValueError:
        return config
    config = replace(config, training=replace(config.training, **pick_execution(former.training)))
    return former if is_same_elsewhere(former, config) else config


def _has_begun(folder: Path) -> bool:
    return (folder / "config.json").is_file() or (folder / "DONE").is_file()


def _split(folder: str) -> tuple[str, str]:
    name, _, digits = folder.rpartition("-")
    return name, digits


def _read_config(folder: Path) -> dict[str, Any]:
    """A run's config.json; nothing when it is torn: training itself refuses it with a line that says so."""
    try:
        value = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def say_policy(planned: PlannedRun, policy: str) -> str | None:
    """One line about what happens to a run whose data changed; None when nothing changed since it was trained."""
    if planned.predecessor is None:
        return None
    act = {
        "restart": f"restart: {planned.folder} is trained from step 0",
        "continue": f"continue: {planned.folder} starts from the weights of {planned.predecessor}",
        "refuse": "refuse: it is not trained; set on_changed_data to restart or continue, or bring the old data back",
    }[policy]
    kept = "" if policy == "refuse" else f"; {planned.predecessor} stays as it is"
    return (
        f"runs.{planned.name}: the music, its words or their preparation changed since {planned.predecessor} was "
        f"trained; on_changed_data is {act}{kept}"
    )
