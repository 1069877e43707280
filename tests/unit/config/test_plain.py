"""Keys that came later: absent while they ask for what was done before, whatever their default has become."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import pytest

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.load import from_json, from_record, parse_config, resolve_runs, to_json
from musicgen_core.config.plain import added, to_plain
from musicgen_core.config.root import RootConfig, project_train
from musicgen_core.config.training import TrainingConfig
from musicgen_core.data.plan import CorpusPlan, Plan
from musicgen_core.flow.signature import list_facts, sign


@dataclass(frozen=True, kw_only=True)
class Round:
    kind: Literal["round"] = "round"
    radius: float = 1.0
    holes: int = field(default=0, metadata=added(before=0))


@dataclass(frozen=True, kw_only=True)
class Square:
    kind: Literal["square"]
    side: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Cake:
    shape: Round | Square = field(default_factory=Round)
    layers: tuple[Round, ...] = ()
    named: dict[str, Round] = field(default_factory=dict)
    sugar: int = field(default=7, metadata=added(before=3))
    """Its default has changed since it came."""

    top: Round | None = field(default=None, metadata=added(before=Round(radius=2.0)))


@pytest.mark.parametrize(
    "cake",
    [
        Cake(),
        Cake(sugar=3),
        Cake(shape=Square(kind="square", side=4.0), layers=(Round(holes=1), Round())),
        Cake(named={"a": Round(holes=2)}, top=Round(radius=2.0)),
        Cake(top=Round(radius=2.0, holes=1)),
    ],
)
def test_what_is_left_out_comes_back(cake: Cake) -> None:
    assert from_json(Cake, to_json(cake)) == cake
    whole = json.dumps(asdict(cake))
    assert from_json(Cake, whole) == cake, "a record that has all keys, such as a run's config.json"


def test_only_what_was_done_before_is_left_out() -> None:
    assert to_plain(Cake(sugar=3, top=Round(radius=2.0))) == {
        "shape": {"kind": "round", "radius": 1.0},
        "layers": [],
        "named": {},
    }
    assert to_plain(Cake(layers=(Round(holes=1),)))["layers"] == [{"kind": "round", "radius": 1.0, "holes": 1}]
    assert to_plain(Cake())["sugar"] == 7, "a default that changed is a change"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], None]:
    """Make a key of TrainingConfig one that came later."""

    def mark(key: str, before: Any) -> None:
        metadata = MappingProxyType(added(before=before))
        monkeypatch.setattr(TrainingConfig.__dataclass_fields__[key], "metadata", metadata)

    return mark


def make_root(**training: Any) -> RootConfig:
    return parse_config({"corpora": {"mine": {"path": "music"}}, "training": training})


def test_a_new_key_at_its_default_leaves_a_runs_signature(
    later: Callable[[str, Any], None], codec_spec: CodecSpec
) -> None:
    """`eps` plays the new key."""
    numbers: dict[str, Any] = dict.fromkeys(
        ("num_used", "num_ignored", "num_captioned", "num_notes", "duration_sec"), 1
    )
    corpus = CorpusPlan(buckets={"b": "d"}, metadata_digest="m", num_rejected={}, **numbers)
    plan = Plan(config_digest="", corpora={"mine": corpus})

    def signature(**training: Any) -> str:
        root = make_root(**training)
        return sign(list_facts(resolve_runs(root)["base"], root, plan, codec_spec, lambda path: path))

    with_it = signature()
    later("eps", 1e-8)
    without = signature()
    assert without != with_it, "the key is out of it"
    run = project_train(resolve_runs(make_root())["base"], codec_spec)
    assert "eps" not in json.loads(to_json(run))["training"]
    assert signature(eps=1e-6) not in (with_it, without)
    later("eps", 1e-6)  # as though the default had changed since
    assert signature() == with_it
    assert signature(eps=1e-6) == without


def test_a_record_of_before_is_the_same_run(later: Callable[[str, Any], None], codec_spec: CodecSpec) -> None:
    run = project_train(resolve_runs(make_root())["base"], codec_spec)
    record = json.loads(json.dumps(asdict(run)))
    assert from_record({**record, "versions": {}}) == run
    later("eps", 1e-8)
    del record["training"]["eps"]
    assert from_record(record) == run
    later("eps", 1e-5)
    assert from_record(record) == replace(run, training=replace(run.training, eps=1e-5))
