"""Runs that other runs start from: what `init_from` names, and what `extend_from` makes longer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.pickles import require_pickle
from musicgen_core.config.root import RootConfig, RunConfig
from musicgen_core.config.source import digest_source, find_source, list_weights
from musicgen_core.config.start import KEY, InitFromConfig
from musicgen_core.data.plan import Plan
from musicgen_core.flow.outside import OutsideDigests, stamp
from musicgen_core.flow.signature import list_facts, sign
from musicgen_core.util.atomic import write_json_if_changed
from musicgen_core.util.log import say


def with_ancestors(runs: Mapping[str, RunConfig]) -> dict[str, RunConfig]:
    """The runs of a config, and those that they extend, as NAME@STEPS: the same run with fewer steps."""
    found = dict(runs)
    for name, run in runs.items():
        key = name
        while run.training.extend_from:
            *before, steps = run.training.extend_from
            run = replace(run, training=replace(run.training, steps=steps, extend_from=tuple(before)))
            key = f"{name}@{steps}"
            found[key] = run
    return found


@dataclass
class Kinship:
    """Signatures of runs, and which of them start from which."""

    signatures: dict[str, str] = field(default_factory=dict)
    """By key. A run that is the same as another but for its name is not in it: `alias` has the other."""

    former: dict[str, str] = field(default_factory=dict)
    """By key, the signature that the run had while those held the keys of config/execution.py."""

    alias: dict[str, str] = field(default_factory=dict)
    extends: dict[str, str] = field(default_factory=dict)
    """Key -> key of the run that it makes longer."""

    starts: dict[str, str] = field(default_factory=dict)
    """Key -> key of the run whose weights it starts from."""

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Key -> what its signature covers."""

    digests: dict[str, str] = field(default_factory=dict)
    """Key -> digest of what it starts from: the other run's signature, or that of the files at a path."""


def relate(
    named: Mapping[str, RunConfig],
    runs: Mapping[str, RunConfig],
    root: RootConfig,
    plan: Plan,
    codec: CodecSpec,
    cache: Path,
    outside: OutsideDigests,
) -> Kinship:
    """Sign `named` runs and all that they come from (`runs`). `cache` remembers digests of weights to start from by
    size and times, `outside` those of frozen models.

    Raises ValueError or OSError when the weights at a path are not there.
    """
    kin = Kinship()
    sources = SourceDigests(cache)

    def sign_one(key: str) -> str:
        if key not in kin.signatures:
            run = runs[key]
            init = run.training.init_from
            if init is not None:
                kin.digests[key] = sign_one(init.run) if init.run is not None else sources.find(init)
                if init.run is not None:
                    kin.starts[key] = init.run
            find, start = outside.find_folder, kin.digests.get(key)
            kin.facts[key] = list_facts(run, root, plan, codec, find, start)
            kin.signatures[key] = sign(kin.facts[key])
            if init is not None and init.run is not None:
                start = kin.former[init.run]
            kin.former[key] = sign(list_facts(run, root, plan, codec, find, start, former=True))
        return kin.signatures[key]

    for key, run in runs.items():
        sign_one(key)
        if run.training.extend_from:
            kin.extends[key] = f"{key.partition('@')[0]}@{run.training.extend_from[-1]}"
    sources.save()
    first = {kin.signatures[key]: key for key in reversed([*named, *(key for key in runs if key not in named)])}
    for key in runs:
        if key not in named and first[kin.signatures[key]] != key:
            kin.alias[key] = first[kin.signatures[key]]
            del kin.signatures[key]
    for links in (kin.extends, kin.starts):
        for key, other in list(links.items()):
            links[key] = kin.alias.get(other, other)
    return kin


class SourceDigests:
    """Digests of weights at paths, by size, mtime and ctime of their files, so that a dry run reads none twice."""

    def __init__(self, path: Path) -> None:
        self.path, self.used = path, dict[str, Any]()
        try:
            self.known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.known = {}

    def find(self, init: InitFromConfig) -> str:
        """The digest. Files that are gone keep the one that they had: a trained run does not need them any more."""
        if init.revision is not None:
            return digest_source(init)
        assert init.path is not None
        name, old = init.path, self.known.get(init.path)
        try:
            folder = find_source(init)
            if old is None:  # a run that has begun with them goes on
                require_pickle(folder, init.accept_pickle, f"{KEY}.accept_pickle")
            stamps = [[p.name, *stamp(p)] for p in list_weights(folder)]
        except FileNotFoundError:
            if old is None:
                raise
            say(f"plan: {name} is gone; runs that started from it keep what is known of it")
            stamps = old["files"]
        if old is None or old["files"] != stamps:
            old = {"files": stamps, "digest": digest_source(init)}
        self.used[name] = old
        return old["digest"]

    def save(self) -> None:
        if self.used or self.known:
            write_json_if_changed(self.path, {**self.known, **self.used})
