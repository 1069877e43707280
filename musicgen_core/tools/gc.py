"""`musicgen gc`: what under results no current config refers to; removed only when asked."""

from __future__ import annotations

import shutil
from pathlib import Path

from musicgen_core.config.overlay import load_overlay
from musicgen_core.flow.artefacts import Stray, find_strays
from musicgen_core.flow.resolve import resolve
from musicgen_core.flow.slurm_jobs import check_orphans
from musicgen_core.flow.workers import is_locked, name_holder
from musicgen_core.util.log import progress, say


def run(
    *,
    config: Path = Path("config.yaml"),
    also: list[Path] | None = None,
    remove: bool = False,
    checkpoints: bool = False,
) -> None:
    """List, with sizes, what no config refers to: old tokens, buckets, corpora, runs, and what killed processes left.

    `also` names further configs whose results lie in the same folder. `--remove` removes what is listed, but for runs
    that hold checkpoints: these go with `--remove --checkpoints` only, and a run that may be in training stays. Raises
    ValueError when the configs have different folders of results, or while snakemake or its jobs work here.
    """
    roots = [load_overlay(path) for path in (config, *(also or []))]
    folders = {Path(root.results).resolve() for root in roots}
    if len(folders) > 1:
        shown = ", ".join(sorted(map(str, folders)))
        raise ValueError(f"the configs have {len(folders)} folders of results ({shown}); clean one after the other")
    if remove and is_locked():
        raise ValueError(f"nothing is removed: {name_holder()}")
    flows = [resolve(root) for root in roots]
    if remove:
        check_orphans({folder for flow in flows for folder in flow.runs})
    strays = find_strays(flows)
    living = [stray for stray in strays if stray.trainer]
    kept = [stray for stray in strays if stray.checkpoints and not checkpoints and stray not in living]
    gone = [stray for stray in strays if stray not in kept and stray not in living]
    for stray in strays:
        why = stray.trainer or ("it holds checkpoints" if remove and stray in kept else "")
        print(_show(stray, f"kept: {why}" if why else ""))
    if remove:
        for stray in progress(gone, "gc") if gone else []:
            _remove(stray.path)
    _summarise(gone, kept, remove)


def _show(stray: Stray, note: str) -> str:
    marks = "checkpoints" if stray.checkpoints else ""
    return f"{stray.num_bytes / 1e6:12.1f} MB  {stray.kind:8}  {stray.path}  {note or marks}".rstrip()


def _summarise(gone: list[Stray], kept: list[Stray], remove: bool) -> None:
    size = sum(stray.num_bytes for stray in gone) / 1e9
    verb = "removed" if remove else "would be removed by --remove"
    say(f"gc: {len(gone)} things, {size:.3f} GB, {verb}")
    if kept:
        size = sum(stray.num_bytes for stray in kept) / 1e9
        say(f"gc: {len(kept)} runs with checkpoints, {size:.3f} GB, stay; --remove --checkpoints removes them too")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
