"""Each key of config.yaml belongs to a known set of stages: those that a change of it makes stale by themselves."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.load import parse_config
from musicgen_core.config.plain import to_plain
from musicgen_core.config.root import (
    RootConfig,
    RunConfig,
    project_evaluate,
    project_generate,
    project_index,
    project_manifest,
    project_resample,
    project_scan,
    project_tokenize,
    project_train,
)

# A section, or a key of it where it differs from the others. `scan` has no rule: what it finds counts by content. The
# codec counts by its digest (tests/workflow/test_thousand_tracks.py), runs override sections, results names a folder.
STAGES_OF = {
    "corpora": {"scan"},
    "corpora.license": {"scan", "manifest"},
    "corpora.licenses": {"scan", "manifest"},
    "corpora.weight": {"scan", "manifest"},
    "results": set[str](),
    "seed": {"train", "evaluate"},
    "data": {"scan"},
    "data.min_duration_sec": {"scan", "resample"},
    "data.max_duration_sec": {"scan", "resample"},
    "data.silence_dbfs": {"scan", "resample"},
    "data.allow_uncaptioned": {"scan", "manifest"},
    "data.num_prompts": {"scan", "generate"},
    "audio": {"resample"},
    "codec": set[str](),
    "tokenize": {"tokenize"},
    "model": {"train"},
    "conditioner": {"train"},
    "training": {"train"},
    "training.segment_sec": {"train", "evaluate"},
    "generation": {"generate"},
    "evaluation": {"evaluate"},
    "upkeep": set[str](),
    "on_changed_data": set[str](),
    "runs": set[str](),
}

ROOT = parse_config({"corpora": {"mine": {"path": "music"}}})


class Other:
    """A value that no key has."""


def keys() -> list[tuple[str, str | None]]:
    """(section, key) of every key; the key is None for a section that is one value."""
    found: list[tuple[str, str | None]] = []
    for section in fields(RootConfig):
        value = ROOT.corpora["mine"] if section.name == "corpora" else getattr(ROOT, section.name)
        found += (
            [(section.name, item.name) for item in fields(value)] if is_dataclass(value) else [(section.name, None)]
        )
    return found


def change(section: str, key: str | None) -> RootConfig:
    other: Any = Other()
    if key is None:
        return replace(ROOT, **{section: other})
    if section == "corpora":
        return replace(ROOT, corpora={"mine": replace(ROOT.corpora["mine"], **{key: other})})
    return replace(ROOT, **{section: replace(getattr(ROOT, section), **{key: other})})


def project(root: RootConfig, codec: CodecSpec) -> dict[str, Any]:
    shared = {item.name: getattr(root, item.name) for item in fields(RunConfig) if item.name not in ("name", "corpora")}
    run = RunConfig(name="base", corpora=("mine",), **shared)
    return {
        "scan": to_plain(project_scan(root)),
        "resample": to_plain(project_resample(root, codec)),
        "manifest": to_plain(project_manifest(root, "mine")),
        "tokenize": to_plain(project_tokenize(root, codec)),
        "index": to_plain(project_index(codec)),
        "train": to_plain(project_train(run, codec)),
        "generate": to_plain(project_generate(root, run)),
        "evaluate": to_plain(project_evaluate(run)),
    }


@pytest.mark.parametrize(("section", "key"), keys(), ids=[f"{s}.{k}" if k else s for s, k in keys()])
def test_a_key_belongs_to_its_stages(section: str, key: str | None, codec_spec: CodecSpec) -> None:
    before, now = project(ROOT, codec_spec), project(change(section, key), codec_spec)
    stale = {stage for stage in now if now[stage] != before[stage]}
    assert stale == STAGES_OF.get(f"{section}.{key}", STAGES_OF[section])


def test_the_table_names_keys_that_exist() -> None:
    sections = {section for section, _ in keys()}
    assert set(STAGES_OF) == sections | {f"{s}.{k}" for s, k in keys() if f"{s}.{k}" in STAGES_OF}
