"""Runs that come from others: which folder each gets, and what makes it another one."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_music import make_codec
from small_project import Project, make_project

from musicgen_core.config.load import ConfigError, parse_config
from musicgen_core.config.source import check_source
from musicgen_core.config.start import InitFromConfig
from musicgen_core.flow.lineage import PlannedRun
from musicgen_core.flow.resolve import read_flow, resolve

Runs = dict[str, PlannedRun]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = make_project(tmp_path / "project", make_codec(tmp_path / "codec"))
    monkeypatch.chdir(made.folder)
    made.config["runs"] = {"base": {}}
    return made


def plan(project: Project, **runs: dict[str, Any]) -> Runs:
    """Runs by key."""
    project.config["runs"] = {name: {"training": training} for name, training in runs.items()}
    flow = resolve(parse_config(project.config))
    found = {one.key: one for one in flow.planned.values()}
    assert {one.key: one for one in read_flow(parse_config(project.config)).planned.values()} == found
    assert flow.targets == [found[name].folder for name in runs]
    return found


def test_an_extended_run_comes_from_the_shorter_one(project: Project) -> None:
    short = plan(project, base={"steps": 6})["base"]
    found = plan(project, base={"steps": 18, "extend_from": [6, 12]})
    assert set(found) == {"base", "base@12", "base@6"}
    assert found["base@6"].folder == short.folder
    assert found["base@12"].extends == short.folder
    assert found["base"].extends == found["base@12"].folder
    assert len({one.folder for one in found.values()}) == 3
    assert plan(project, base={"steps": 12, "extend_from": [6]})["base"].folder == found["base@12"].folder


def test_a_run_that_the_config_names_is_not_trained_twice(project: Project) -> None:
    found = plan(project, short={"steps": 6}, long={"steps": 12, "extend_from": [6]})
    assert set(found) == {"short", "long"}
    assert found["long"].extends == found["short"].folder
    assert found["long"].parents == [found["short"].folder]


def test_a_run_that_starts_from_another_follows_it_and_nothing_else(project: Project) -> None:
    found = plan(project, base={}, tuned={"init_from": {"run": "base"}}, other={})
    assert found["tuned"].starts == found["base"].folder
    again = plan(project, base={}, tuned={"init_from": {"run": "base"}}, other={"learning_rate": 0.5})
    assert again["tuned"].folder == found["tuned"].folder
    changed = plan(project, base={"learning_rate": 0.5}, tuned={"init_from": {"run": "base"}})
    assert changed["tuned"].folder != found["tuned"].folder
    assert changed["tuned"].starts == changed["base"].folder


def test_weights_at_a_path_count_by_content(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    source = project.folder / "weights"
    source.mkdir()
    (source / "model.safetensors").write_bytes(b"weights")
    first = plan(project, base={}, tuned={"init_from": {"path": "weights"}})
    (source / "README.md").write_text("a word")
    (source / "model.safetensors").touch()
    assert plan(project, base={}, tuned={"init_from": {"path": "weights"}}) == first
    source.rename(project.folder / "moved")
    moved = plan(project, base={}, tuned={"init_from": {"path": "moved"}})
    assert moved["tuned"].folder == first["tuned"].folder
    (project.folder / "moved/model.safetensors").write_bytes(b"WEIGHTS")
    changed = plan(project, base={}, tuned={"init_from": {"path": "moved"}})
    assert changed["tuned"].folder != first["tuned"].folder
    assert changed["base"].folder == first["base"].folder
    shutil.rmtree(project.folder / "moved")
    capsys.readouterr()
    assert plan(project, base={}, tuned={"init_from": {"path": "moved"}}) == changed
    assert "plan: moved is gone; runs that started from it keep what is known of it" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r"training\.init_from\.path: no folder elsewhere"):
        plan(project, tuned={"init_from": {"path": "elsewhere"}})


def test_weights_under_their_old_size_and_time_are_seen(project: Project) -> None:
    """`cp -p` and `rsync -a` bring such: the ctime tells."""
    source = project.folder / "weights"
    source.mkdir()
    path = source / "model.safetensors"
    path.write_bytes(b"weights")
    first, stat = plan(project, tuned={"init_from": {"path": "weights"}})["tuned"], path.stat()
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = plan(project, tuned={"init_from": {"path": "weights"}})["tuned"]
    assert second.folder != first.folder
    init = InitFromConfig(path="weights")
    assert second.start_digest
    check_source(init, second.start_digest)
    check_source(init, "")
    path.write_bytes(b"Weights")
    with pytest.raises(ValueError, match=r"init_from\.path: the weights at weights changed since the plan"):
        check_source(init, second.start_digest)


def test_new_weights_in_place_have_no_predecessor(project: Project) -> None:
    """The run before had other weights, not other music: nothing is continued, and nothing said of changed data."""
    (project.folder / "weights").mkdir()
    path = project.folder / "weights/model.safetensors"
    path.write_bytes(b"weights")
    project.config["on_changed_data"] = "refuse"
    first = plan(project, tuned={"init_from": {"path": "weights"}})["tuned"]
    leave_training(project, first.folder)
    path.write_bytes(b"other")
    assert plan(project, tuned={"init_from": {"path": "weights"}})["tuned"].predecessor is None


def test_with_other_music_a_run_and_the_one_that_starts_from_it_have_predecessors(project: Project) -> None:
    """What the second started from holds the music, too, and is another then."""
    project.config["on_changed_data"] = "continue"
    runs: dict[str, Any] = {"base": {}, "tuned": {"init_from": {"run": "base"}}}
    before = plan(project, **runs)
    for one in before.values():
        leave_training(project, one.folder)
    next(iter(sorted(project.music.glob("*.wav")))).unlink()
    for key, one in plan(project, **runs).items():
        assert one.predecessor == one.continues == before[key].folder != one.folder
    assert (
        plan(project, base={}, tuned={"init_from": {"run": "base"}, "learning_rate": 0.5})["tuned"].predecessor is None
    )


def leave_training(project: Project, folder: str) -> None:
    run_dir = project.folder / "results/runs" / folder
    (run_dir / "checkpoints/step-00000004").mkdir(parents=True)
    stage = json.loads((project.folder / f"results/plan/stages/train/{folder}.json").read_text())
    (run_dir / "config.json").write_text(json.dumps({**stage["config"], "stage_version": stage["version"]}))


FROZEN: list[tuple[str, dict[str, Any]]] = [
    ("conditioner", {"kind": "t5", "path": "frozen"}),
    ("model", {"conditions": {"sound": {"kind": "clap", "path": "frozen"}}}),
    ("model", {"conditions": {"feel": {"kind": "style", "extractor": {"kind": "transformers", "path": "frozen"}}}}),
    ("model", {"conditions": {"tune": {"kind": "chroma", "separate": {"path": "frozen"}}}}),
]


@pytest.mark.parametrize(("section", "value"), FROZEN, ids=["t5", "clap", "style", "stems"])
def test_a_frozen_model_counts_by_content(project: Project, section: str, value: dict[str, Any]) -> None:
    folder = project.folder / "frozen"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    project.config[section] = value
    project.config["training"]["segment_sec"] = 10.0
    first = plan(project, base={})["base"]
    (folder / "README.md").write_text("a word")
    (folder / "model.safetensors").touch()
    assert plan(project, base={})["base"] == first
    stat = (folder / "model.safetensors").stat()
    (folder / "model.safetensors").write_bytes(b"WEIGHTS")
    os.utime(folder / "model.safetensors", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    changed = plan(project, base={})["base"]
    assert changed.folder != first.folder
    if section == "model":  # of the words' encoder the plan says that it is gone
        shutil.rmtree(folder)
        assert plan(project, base={})["base"] == changed


def test_a_trained_run_keeps_the_place_of_its_frozen_model(project: Project) -> None:
    """Moved since, it changes no parameter of the job, which would train the run again."""
    (project.folder / "frozen").mkdir()
    for name in ("config.json", "model.safetensors"):
        (project.folder / "frozen" / name).write_text("{}")
    project.config["conditioner"] = {"kind": "t5", "path": "frozen"}
    (folder,) = [one.folder for one in plan(project, base={}).values()]
    text = (project.folder / f"results/plan/stages/train/{folder}.json").read_text()
    leave_training(project, folder)
    (project.folder / "results/runs" / folder / "DONE").write_text("{}")
    (project.folder / "frozen").rename(project.folder / "moved")
    project.config["conditioner"]["path"] = "moved"
    assert plan(project, base={})["base"].folder == folder
    assert (project.folder / f"results/plan/stages/train/{folder}.json").read_text() == text
    (project.folder / "results/runs" / folder / "DONE").unlink()
    plan(project, base={})
    resumed = (project.folder / f"results/plan/stages/train/{folder}.json").read_text()
    assert resumed == text.replace('"frozen"', '"moved"'), "one that goes on reads it where it is"


def test_a_pickle_is_refused_before_anything_runs(project: Project) -> None:
    source = project.folder / "released"
    source.mkdir()
    for name in ("state_dict.bin", "compression_state_dict.bin"):
        (source / name).write_bytes(b"a pickle")
    with pytest.raises(ValueError, match=r"state_dict\.bin: a pickle.*Set training\.init_from\.accept_pickle: true"):
        plan(project, tuned={"init_from": {"path": "released"}})
    accepted = plan(project, tuned={"init_from": {"path": "released", "accept_pickle": True}})
    assert plan(project, tuned={"init_from": {"path": "released"}}) == accepted, "a run that has begun goes on"
    (source / "model.safetensors").write_bytes(b"weights")
    plan(project, other={"init_from": {"path": "released/../released"}})


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"steps": 6, "extend_from": [6]}, r"runs\.b\.training\.extend_from: \[6\] must ascend.*training\.steps 6"),
        ({"steps": 9, "extend_from": [6, 3]}, r"\[6, 3\] must ascend"),
        ({"init_from": {"run": "c"}}, r"runs\.b\.training\.init_from\.run: there is no run `c`; runs are a, b"),
        ({"init_from": {"run": "b"}}, r"the runs b -> b start from each other"),
        ({"init_from": {}}, r"name either a run or a path, and not both"),
        ({"init_from": {"run": "a", "path": "x"}}, r"name either a run or a path, and not both"),
        ({"init_from": {"run": "a", "revision": "x"}}, r"revision: belongs to a hub id"),
        ({"init_from": {"rum": "a"}}, r"unknown key `rum`; did you mean `run`"),
        ({"optimizer": {"kind": "adam"}}, r"unknown value `adam`; did you mean `adamw`"),
        ({"optimizer": {"kind": "muon", "momentum": 1.0}}, r"runs\.b\.training\.optimizer\.momentum: 1\.0 must be"),
        ({"optimizer": {"kind": "dadapt_adam", "growth_rate": 0.5}}, r"growth_rate: 0\.5 must be at least 1"),
        ({"optimizer": {"kind": "dadapt_adam", "initial_d": 0}}, r"initial_d: 0\.0 must be above 0"),
        ({"schedule": {"kind": "exponential"}}, r"schedule\.gamma: this key is required"),
        ({"schedule": {"kind": "exponential", "gamma": 1.5}}, r"schedule\.gamma: 1\.5 must lie in"),
        ({"schedule": {"kind": "polynomial", "power": 0}}, r"schedule\.power: 0\.0 must be above 0"),
        ({"schedule": {"cycle_length": 0}}, r"schedule\.cycle_length: 0\.0 must be above 0"),
        ({"lr_min_ratio": 2}, r"lr_min_ratio: 2\.0 must lie between 0 and 1"),
        ({"betas": [0.9, 1.0]}, r"betas: \[0\.9, 1\.0\] must each be"),
        ({"warmup_steps": -1}, r"warmup_steps: -1 must be 0 or more"),
        ({"max_grad_norm": -1}, r"max_grad_norm: -1\.0 must be above 0; null or 0 clips nothing"),
        ({"early_stopping": {"patience": 0}}, r"early_stopping\.patience: 0 must be at least 1"),
        ({"early_stopping": {"min_delta": -1}}, r"early_stopping\.min_delta: -1\.0 must be 0 or more"),
        ({"freeze": "heads"}, r"freeze: expected a list"),
    ],
)
def test_what_cannot_be_is_one_line(training: dict[str, Any], message: str) -> None:
    raw = {"corpora": {"mine": {"path": "music"}}, "runs": {"a": {}, "b": {"training": training}}}
    with pytest.raises(ConfigError, match=message) as error:
        parse_config(raw)
    assert "\n" not in str(error.value)


def test_runs_in_a_circle_are_refused() -> None:
    runs = {name: {"training": {"init_from": {"run": other}}} for name, other in (("a", "b"), ("b", "c"), ("c", "a"))}
    with pytest.raises(ConfigError, match="the runs a -> b -> c -> a start from each other"):
        parse_config({"corpora": {"mine": {"path": "music"}}, "runs": runs})
