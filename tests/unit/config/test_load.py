"""config.yaml: every mistake ends in one line that names the key and the remedy."""

import json
from pathlib import Path

import pytest

from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.load import (
    ConfigError,
    from_json,
    json_schema,
    load_config,
    parse_config,
    resolve_runs,
    to_json,
)
from musicgen_core.config.root import RootConfig, project_train
from musicgen_core.config.training import TrainingConfig

ROOT = Path(__file__).parents[3]
GOOD = {"corpora": {"mine": {"path": "music"}}}

BAD = [
    ({}, "corpora: this key is required"),
    ({"corpora": {}}, "corpora: is empty"),
    ({"corpora": {"mine": {}}}, "corpora.mine.path: this key is required"),
    ({"corpora": {"mine": {"path": 3}}}, "corpora.mine.path"),
    ({"corpora": {"mine": {"pth": "x"}}}, "corpora.mine: unknown key `pth`; did you mean `path`?"),
    ({"corpora": {"a/b": {"path": "x"}}}, "names become folders"),
    ({**GOOD, "trainin": {}}, "unknown key `trainin`; did you mean `training`?"),
    ({**GOOD, "training": {"steps": "many"}}, "training.steps"),
    ({**GOOD, "training": {"step": 3}}, "training: unknown key `step`; did you mean `steps`?"),
    ({**GOOD, "codec": {"kind": "encodec"}}, "codec.path: this key is required"),
    ({**GOOD, "codec": {"kind": "encodek", "path": "x"}}, "unknown value `encodek`; did you mean `encodec`?"),
    ({**GOOD, "codec": {"kind": "tiny", "revision": "x"}}, "codec: unknown key `revision`"),
    ({**GOOD, "data": {"valid_fraction": 0.6, "evaluate_fraction": 0.5}}, "leaves nothing to train on"),
    ({**GOOD, "data": {"valid_fraction": 0}}, "data.valid_fraction: 0"),
    ({**GOOD, "results": " "}, "results: is empty"),
    ({**GOOD, "training": None}, "training: expected keys and values"),
    ({"corpora": {"mine": {"path": "x", "licenses": "CC0-1.0"}}}, "corpora.mine.licenses: expected a list"),
    ({**GOOD, "runs": {}}, "runs: is empty"),
    ({**GOOD, "runs": {"a": {"trainin": {}}}}, "runs.a: unknown key `trainin`; did you mean `training`?"),
    ({**GOOD, "runs": {"a": {"training": {"stepz": 1}}}}, "runs.a.training: unknown key `stepz`"),
    ({**GOOD, "runs": {"a": {"corpora": ["your"]}}}, "runs.a.corpora: unknown corpus `your`; did you mean `mine`?"),
    ({**GOOD, "runs": {"a": {"corpora": []}}}, "runs.a.corpora: expected a list"),
    ({**GOOD, "runs": {"a": {"model": {"dim": 100, "num_heads": 3}}}}, "runs.a.model.dim: 100"),
    (
        {**GOOD, "model": {"pattern": {"kind": "unrolled"}}},
        "model.pattern.kind: unknown value `unrolled`; did you mean `unroll`?",
    ),
    ({**GOOD, "model": {"pattern": {"kind": "parallel", "delays": [0]}}}, "model.pattern: unknown key `delays`"),
    ({**GOOD, "model": {"pattern": {"kind": "musiclm", "group_by": "two"}}}, "model.pattern.group_by: Input should be"),
    ({**GOOD, "model": {"pattern": "delay"}}, "model.pattern: "),
    ({**GOOD, "codec": {"num_channels": 3}}, "codec.num_channels: Input should be 1 or 2"),
    ({**GOOD, "training": {"batch_size": 6, "micro_batch_size": 4}}, "4 must divide batch_size 6"),
    ({**GOOD, "training": {"steps": 0}}, "training.steps: 0 must be above 0"),
    ({**GOOD, "generation": {"duration_sec": 0}}, "generation: duration_sec must be above 0"),
    ({**GOOD, "generation": {"window_sec": -1}}, "generation.window_sec: -1 must be above 0, or null"),
    ({**GOOD, "generation": {"extend_stride_sec": 0}}, "generation.extend_stride_sec: 0 must be above 0"),
    (
        {**GOOD, "generation": {"extend_stride_sec": 9, "window_sec": 9}},
        "generation.extend_stride_sec: 9 must be above 0 and below window_sec 9",
    ),
    (
        {**GOOD, "generation": {"continuations": [{"audio": "a.wav", "prompt_sec": 5}], "duration_sec": 5}},
        "generation.continuations.0 (a.wav): prompt_sec 5 must be above 0 and below duration_sec 5",
    ),
    (
        {**GOOD, "generation": {"continuations": [{"audio": "a.wav", "start_sec": -2}]}},
        "generation.continuations.0 (a.wav): start_sec -2 must not be negative",
    ),
    (
        {**GOOD, "generation": {"continuations": [{"audio": "a.wav", "promt_sec": 2}]}},
        "generation.continuations.0: unknown key `promt_sec`; did you mean `prompt_sec`?",
    ),
]


@pytest.mark.parametrize(("raw", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_mistake_is_one_line(raw: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(raw)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def _leaves(value: dict, path: tuple[str, ...] = ()):
    for key, item in value.items():
        yield (*path, key)
        if isinstance(item, dict):
            yield from _leaves(item, (*path, key))


def test_every_key_mutated_by_one_letter_is_rejected() -> None:
    import yaml

    text = (ROOT / "config.yaml").read_text()
    for path in _leaves(yaml.safe_load(text)):
        raw = yaml.safe_load(text)
        holder = raw
        for key in path[:-1]:
            holder = holder[key]
        if path[:-1] in ((), ("corpora",), ("runs",)) and path[0] in ("corpora", "runs") and len(path) == 2:
            continue  # names that the user chooses
        holder[path[-1] + "x"] = holder.pop(path[-1])
        with pytest.raises(ConfigError, match=path[-1] + "x"):
            parse_config(raw)


def test_committed_config_says_the_defaults() -> None:
    committed = load_config(ROOT / "config.yaml")
    bare = parse_config({"corpora": {"demo": {"path": "data/demo"}}})
    for section in ("seed", "data", "audio", "codec", "tokenize", "model", "conditioner", "evaluation", "results"):
        assert getattr(committed, section) == getattr(bare, section), section


def test_scientific_notation_without_a_dot_is_a_number() -> None:
    assert parse_config({**GOOD, "training": {"learning_rate": "1e-4"}}).training.learning_rate == 1e-4


def test_captions_may_be_one_name() -> None:
    root = parse_config({"corpora": {"mine": {"path": "x", "captions": "songs.csv"}}})
    assert root.corpora["mine"].captions == "songs.csv"


def test_runs_override_the_base_and_nothing_else() -> None:
    root = parse_config(
        {**GOOD, "training": {"steps": 7, "batch_size": 3}, "runs": {"a": None, "b": {"training": {"steps": 9}}}}
    )
    runs = resolve_runs(root)
    assert (runs["a"].training.steps, runs["b"].training.steps) == (7, 9)
    assert runs["b"].training.batch_size == 3
    assert runs["b"].corpora == ("mine",)


def test_another_kind_replaces_the_section() -> None:
    root = parse_config(
        {**GOOD, "conditioner": {"num_bins": 5}, "runs": {"a": {"conditioner": {"kind": "t5", "path": "p"}}}}
    )
    assert resolve_runs(root)["a"].conditioner.kind == "t5"


def test_json_round_trip() -> None:
    config = TrainingConfig(steps=3, betas=(0.5, 0.6))
    assert from_json(TrainingConfig, to_json(config)) == config
    with pytest.raises(ConfigError, match="not JSON"):
        from_json(TrainingConfig, "{")


def test_train_projection_ignores_what_does_not_matter(codec_spec) -> None:
    def project(**keys: object) -> str:
        root = parse_config({**GOOD, **keys})
        return to_json(project_train(resolve_runs(root)["base"], codec_spec))

    assert project() == project(results="elsewhere", generation={"top_k": 3}, data={"num_prompts": 9})
    assert project() != project(training={"steps": 1})
    assert project() != project(seed=1)


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "not YAML"), ("- 1", "expected keys and values"), ("", "expected keys")]
)
def test_file_that_is_no_config(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_config(tmp_path / "nowhere.yaml")


def test_committed_schema_is_fresh() -> None:
    committed = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert committed == json.loads(json.dumps(json_schema())), "run `musicgen schema`"


def test_schema_agrees_with_the_loader() -> None:
    import jsonschema
    import yaml

    schema = json_schema()
    jsonschema.validate(yaml.safe_load((ROOT / "config.yaml").read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**GOOD, "trainin": {}}, schema)
    assert set(schema["properties"]) == set(RootConfig.__dataclass_fields__)


def test_a_melody_is_as_long_as_a_training_segment() -> None:
    model = {"conditions": {"self_wav": {"kind": "chroma"}}}
    own = {"model": {"conditions": {"self_wav": {"num_frames": 50}}}}
    listed = {"a": {}, "b": {"training": {"segment_sec": 10.0}}, "c": own}
    runs = resolve_runs(parse_config({**GOOD, "model": model, "training": {"segment_sec": 30.0}, "runs": listed}))
    found = {name: run.model.conditions["self_wav"] for name, run in runs.items()}
    assert {name: getattr(item, "num_frames", None) for name, item in found.items()} == {"a": 235, "b": 79, "c": 50}


@pytest.mark.parametrize("name", ["key", "description"])
def test_a_melody_has_a_name_of_its_own(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"conditions\.{name}: chroma reads a track's audio, not its field `{name}`"):
        parse_config({**GOOD, "model": {"conditions": {name: {"kind": "chroma"}}}})
    with pytest.raises(ConfigError, match=r"conditions\.self_wav\.dropout: 2\.0 must lie in \[0, 1\]"):
        parse_config({**GOOD, "model": {"conditions": {"self_wav": {"kind": "chroma", "dropout": 2.0}}}})


def test_prompts_are_words_or_more() -> None:
    raw = {"prompts": ["rock", {"text": "jazz", "melody": "hum.wav", "conditions": {"bpm": 90, "key": "a minor"}}]}
    config = parse_config({**GOOD, "generation": raw}).generation
    assert config.prompts[0] == "rock"
    assert not isinstance(config.prompts[1], str)
    assert config.prompts[1].recordings == {"melody": ("hum.wav", 0.0)}
    assert from_json(GenerationConfig, to_json(config)) == config
    with pytest.raises(ConfigError, match=r"generation\.prompts\.0: unknown key `melodie`; did you mean `melody`"):
        parse_config({**GOOD, "generation": {"prompts": [{"melodie": "a.wav"}]}})
    with pytest.raises(ConfigError, match=r"generation\.prompts\.0\.melody_start_sec: -1\.0 must be at least 0"):
        parse_config({**GOOD, "generation": {"prompts": [{"melody": "a.wav", "melody_start_sec": -1}]}})
