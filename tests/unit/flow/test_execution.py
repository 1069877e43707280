"""Keys that say how a run is computed move no run and make nothing stale."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from small_music import make_codec
from small_project import Project, make_project

from musicgen_core.config.load import parse_config
from musicgen_core.flow.ancestors import Kinship
from musicgen_core.flow.resolve import Flow, resolve

HOW: dict[str, Any] = {"sharding": "none", "micro_batch_size": 2, "activation_checkpointing": True, "keep_last": 9}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = make_project(tmp_path / "project", make_codec(tmp_path / "codec"))
    monkeypatch.chdir(made.folder)
    return made


def plan(project: Project, **runs: dict[str, Any]) -> Flow:
    project.config["runs"] = {name: {"training": training} for name, training in runs.items()}
    return resolve(parse_config(project.config))


def train(flow: Flow, name: str) -> Path:
    """As though it had been: the marker, and the record of what it was trained with."""
    folder = Path(flow.runs_dir) / next(one.folder for one in flow.planned.values() if one.key == name)
    folder.mkdir(parents=True)
    config = json.dumps(asdict(flow.configs()["train", folder.name]))
    (folder / "config.json").write_text(config)
    (folder / "DONE").write_text("{}")
    return folder


def test_the_run_stays_the_same_run_and_a_trained_one_is_not_stale(project: Project) -> None:
    flow = plan(project, base={}, tuned={"init_from": {"run": "base"}})
    folders = set(flow.planned)
    now = plan(project, base=HOW, tuned={"init_from": {"run": "base"}})
    assert set(now.planned) == folders
    folder = train(now, "base").name
    assert now.configs()["train", folder].training.sharding == "none", "before it is trained, the config decides"
    for how in (HOW, {}, {"compile": True}):
        after = plan(project, base=how, tuned={"init_from": {"run": "base"}})
        assert after.configs()["train", folder] == now.configs()["train", folder], "nothing to do"
        stage = json.loads(Path(f"results/plan/stages/train/{folder}.json").read_text())
        assert stage["config"]["training"]["sharding"] == "none"
    assert set(plan(project, base={"learning_rate": 0.5}).planned).isdisjoint(folders)


def test_a_run_keeps_the_folder_that_its_keys_once_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures held these keys; such a folder is found as long as the keys say the same."""
    from musicgen_core.flow import ancestors

    runs = {"base": HOW, "tuned": {"init_from": {"run": "base"}}}
    with monkeypatch.context() as patch:  # the program of before
        real = ancestors.list_facts
        patch.setattr(ancestors, "list_facts", lambda *arguments, former=True: real(*arguments, former=True))
        before = plan(project, **runs)
        folders = {name: train(before, name).name for name in runs}
    assert folders["base"] not in {one.folder for one in plan(project, base={}).planned.values()}
    now = plan(project, **runs)
    assert {one.key: one.folder for one in now.planned.values()} == folders
    for folder in folders.values():
        assert now.planned[folder].signature == before.planned[folder].signature
        assert now.planned[folder].start_digest == before.planned[folder].start_digest
        assert now.planned[folder].done


def test_a_run_with_defaults_has_one_signature(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from musicgen_core.flow import resolve as module

    seen: list[Kinship] = []
    relate = module.relate
    monkeypatch.setattr(module, "relate", lambda *arguments: seen.append(relate(*arguments)) or seen[-1])
    project.config["training"] = {}  # none of these keys, as in a config that says nothing of them
    plan(project, base={}, other={"learning_rate": 0.5}, how=HOW)
    (kin,) = seen
    for name in ("base", "other"):
        assert kin.former[name] == kin.signatures[name]
    assert kin.signatures["how"] == kin.signatures["base"] != kin.former["how"]
