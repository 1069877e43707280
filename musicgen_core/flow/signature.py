"""The signature of a run: the digest of all that its model depends on. It names the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.execution import without_execution
from musicgen_core.config.places import map_places
from musicgen_core.config.plain import to_plain
from musicgen_core.config.root import (
    RootConfig,
    RunConfig,
    project_manifest,
    project_resample,
    project_tokenize,
    project_train,
)
from musicgen_core.data.plan import Plan
from musicgen_core.stages import STAGES
from musicgen_core.util.digest import digest_json

SHOWN_DIGITS = 8
"""Of a signature, in a folder's name."""


def list_facts(
    run: RunConfig,
    root: RootConfig,
    plan: Plan,
    codec: CodecSpec,
    find_folder: Callable[[str], str],
    start: str | None = None,
    former: bool = False,
) -> dict[str, Any]:
    """What a signature covers: a run's music, the stages and their configs, and its own config; not its name.

    `start` is the digest of the weights that it starts from, `find_folder` gives that of a frozen model in a folder of
    this machine: both count by content, not by where they lie. `former`: with the keys of config/execution.py, as runs
    were signed before these could change.
    """
    train = map_places(
        to_plain(project_train(run if former else as_signed(run), codec)), lambda path: {"digest": find_folder(path)}
    )
    if init := run.training.init_from:
        train["training"]["init_from"] = [start, init.skip, init.mono_to_stereo]
    return {
        "versions": {n: STAGES[n].version for n in ("resample", "manifest", "tokenize", "index", "train")},
        "data": {c: [plan.corpora[c].buckets, plan.corpora[c].metadata_digest] for c in run.corpora},
        "resample": to_plain(project_resample(root, codec)),
        "manifest": {c: to_plain(project_manifest(root, c)) for c in run.corpora},
        "tokenize": to_plain(project_tokenize(root, codec)),
        "train": train,
    }


def sign(facts: dict[str, Any]) -> str:
    """Digest of them."""
    return digest_json(facts)


def as_signed(run: RunConfig) -> RunConfig:
    """What the run is, whichever way it is computed."""
    return replace(run, training=without_execution(run.training))
