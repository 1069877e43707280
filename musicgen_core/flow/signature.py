"""The signature of a run: the digest of all that its model depends on. It names the run's folder."""

from __future__ import annotations

from dataclasses import replace

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.execution import without_execution
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


def sign(
    run: RunConfig, root: RootConfig, plan: Plan, codec: CodecSpec, start: str | None = None, former: bool = False
) -> str:
    """Digest of a run's music, of the stages and their configs, and of its own config; not of its name.

    `start` is the digest of the weights that it starts from: they count by content, not by where they lie. `former`:
    with the keys of config/execution.py, as runs were signed before these could change.
    """
    train = to_plain(project_train(run if former else as_signed(run), codec))
    if init := run.training.init_from:
        train["training"]["init_from"] = [start, init.skip, init.mono_to_stereo]
    return digest_json(
        {
            "versions": {n: STAGES[n].version for n in ("resample", "manifest", "tokenize", "index", "train")},
            "data": {c: [plan.corpora[c].buckets, plan.corpora[c].metadata_digest] for c in run.corpora},
            "resample": to_plain(project_resample(root, codec)),
            "manifest": {c: to_plain(project_manifest(root, c)) for c in run.corpora},
            "tokenize": to_plain(project_tokenize(root, codec)),
            "train": train,
        }
    )


def as_signed(run: RunConfig) -> RunConfig:
    """What the run is, whichever way it is computed."""
    return replace(run, training=without_execution(run.training))
