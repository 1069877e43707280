import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_clap import write_clap
from small_models import CONDITIONER, MODEL, random_sequence

from musicgen_core.codec.load import load_codec
from musicgen_core.config.codec_spec import read_codec_folder, shipped_codec_folder
from musicgen_core.config.condition import (
    AttributeConditionConfig,
    ChromaConditionConfig,
    ClapConditionConfig,
    ConditionConfig,
    StyleConditionConfig,
)
from musicgen_core.config.extractor import PretrainedExtractorConfig
from musicgen_core.config.model import T5ConditionerConfig
from musicgen_core.config.outside import list_outside
from musicgen_core.config.pattern import DelayPatternConfig, PatternConfig, UnrollPatternConfig
from musicgen_core.config.root import ExportStageConfig, TrainStageConfig
from musicgen_core.config.separation import SeparationConfig
from musicgen_core.config.training import TrainingConfig
from musicgen_core.data.manifest import ManifestRecord
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model
from musicgen_core.lm.weights import codec_folder, load_export, read_words
from musicgen_core.stages import export
from musicgen_core.train import checkpoint
from musicgen_core.util.atomic import write_json, write_jsonl

CODEC = read_codec_folder(shipped_codec_folder())
TRAINED = TrainStageConfig(seed=3, codec=CODEC, model=MODEL, conditioner=CONDITIONER, training=TrainingConfig())
NOTHING = dict.fromkeys(ManifestRecord.__dataclass_fields__)


def make_model(seed: int = 0, **overrides: Any) -> LanguageModel:
    model = build_model(replace(MODEL, **overrides), CONDITIONER, CODEC)
    initialize(model, seed)
    return model.eval()


def run_export(run_dir: Path, manifests: list[Path], codec: Path | None = None) -> Path:
    out, where = run_dir / "export", run_dir / "where.json"
    write_json(where, {"codec": str(codec or shipped_codec_folder()), "corpora": {}})
    export.run(ExportStageConfig(), run_dir=run_dir, manifests=manifests, where=where, out=out)
    return out


def track(number: int, **known: object) -> dict[str, object]:
    return {**NOTHING, "path": f"{number}.wav", "track": f"{number:032x}", "split": "train", **known}


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "run"
    write_json(folder / "config.json", {**asdict(TRAINED), "versions": {"torch": "x"}, "digests": {}})
    state = make_model(seed=5).state_dict()
    monkeypatch.setattr(checkpoint, "load_best_weights", lambda run_dir: (state, {"step": 40, "loss": 2.5}))
    return folder


@pytest.fixture
def manifests(tmp_path: Path) -> list[Path]:
    tracks = {
        "a": [track(1, title="Song", artist="Ann", license="CC-BY-4.0"), track(2)],
        "b": [track(3, license="CC-BY-4.0"), track(4, title="Song", artist="Ann", license="CC-BY-4.0")],
    }
    for name, records in tracks.items():
        write_jsonl(tmp_path / name / "train.jsonl", records)
    return [tmp_path / "a", tmp_path / "b"]


def test_it_says_what_the_folder_lacks() -> None:
    """Of each frozen model that is named and not copied: a line to the user, and one in the model card."""
    conditions: dict[str, ConditionConfig] = {
        "sound": ClapConditionConfig(kind="clap", path="models/clap"),
        "style": StyleConditionConfig(
            kind="style", extractor=PretrainedExtractorConfig(kind="transformers", path="m-a-p/MERT", revision="0" * 40)
        ),
        "self_wav": ChromaConditionConfig(kind="chroma", separate=SeparationConfig(path="models/demucs")),
    }
    words = T5ConditionerConfig(kind="t5", path="models/t5")
    stems, clap, style = list_outside(CONDITIONER, conditions)
    assert "lacks the CLAP model of condition sound, models/clap: to use it elsewhere, take that folder along" in clap
    assert "lacks the feature extractor of condition style, m-a-p/MERT@00000000: " in style
    assert "bring that into the store (musicgen fetch)" in style
    assert "lacks the stem separator of condition self_wav, models/demucs" in stems
    assert "lacks the text encoder of the words, models/t5" in list_outside(words, {})[0]
    assert list_outside(CONDITIONER, {"style": StyleConditionConfig(kind="style")}) == []


@pytest.mark.filterwarnings("ignore")  # of transformers' modules
def test_an_export_with_clap_and_style(
    run_dir: Path,
    manifests: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clap = ClapConditionConfig(kind="clap", path=str(write_clap(tmp_path / "clap")), num_levels=2, num_entries=8)
    style = StyleConditionConfig(kind="style", dim=16, num_heads=2, num_layers=1, num_levels=3, num_entries=8)
    conditions: dict[str, ConditionConfig] = {"sound": clap, "style": style}
    trained = replace(TRAINED, model=replace(MODEL, conditions=conditions))
    write_json(run_dir / "config.json", {**asdict(trained), "versions": {"torch": "x"}, "digests": {}})
    model = make_model(seed=5, conditions=conditions)
    weights = (model.state_dict(), {"step": 40, "loss": 2.5})
    monkeypatch.setattr(checkpoint, "load_best_weights", lambda run_dir: weights)
    out = run_export(run_dir, manifests)
    said = capsys.readouterr().err
    assert f"note: {out} lacks the CLAP model of condition sound, {tmp_path}/clap" in said
    assert "note: transformers/: transformers' MusicGen takes words by cross-attention" in said
    assert "This folder lacks the CLAP model of condition sound" in (out / "README.md").read_text()
    loaded, _ = load_export(out)
    assert loaded.config.conditions == conditions
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_writes_a_folder_that_loads(run_dir: Path, manifests: list[Path]) -> None:
    out = run_export(run_dir, manifests)
    assert {path.name for path in out.iterdir()} == {
        "model.safetensors",
        "config.json",
        "README.md",
        "words.txt",
        "codec",
        "transformers",
    }
    model, info = load_export(out)
    expected = make_model(seed=5)
    sequence = random_sequence(model, 1, 6)
    assert torch.equal(model(sequence, None), expected(sequence, None))
    assert info["format"] == "musicgen_core"
    assert (info["step"], info["loss"], info["weights"], info["tracks"]) == (40, 2.5, "ema", 4)
    assert info["licenses"] == {"CC-BY-4.0": 3, "not stated": 1}
    assert info["attributions"] == ["3.wav, by unknown (CC-BY-4.0)", "Song, by Ann (CC-BY-4.0)"]
    assert list(run_dir.glob(".*")) == []


def test_the_card_says_whose_music_it_is(run_dir: Path, manifests: list[Path]) -> None:
    run_export(run_dir, manifests)
    card = (run_dir / "export" / "README.md").read_text()
    for words in (
        "| CC-BY-4.0 | 3 |",
        "- Song, by Ann (CC-BY-4.0)",
        CODEC.digest,
        'load_export("export")',
        "2.5000 nats",
    ):
        assert words in card
    assert all(len(line) <= 160 for line in card.splitlines())


def test_the_card_says_what_the_weights_were_before(run_dir: Path, manifests: list[Path]) -> None:
    start = {"source": "facebook/musicgen-small", "revision": "c" * 40, "digest": "d" * 32, "license": "CC-BY-NC-4.0"}
    write_json(run_dir / "config.json", {**asdict(TRAINED), "versions": {}, "digests": {}, "init_from": start})
    run_export(run_dir, manifests)
    card = (run_dir / "export" / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-nc-4.0\n")
    assert "from the weights of `facebook/musicgen-small` at revision `ccc" in card
    assert "weights: CC-BY-NC-4.0; these weights inherit it" in card
    assert load_export(run_dir / "export")[1]["init_from"] == start


@pytest.mark.parametrize("pattern", [DelayPatternConfig(), UnrollPatternConfig(kind="unroll", delays=(0, 0, 2, 2))])
def test_a_pattern_that_transformers_does_not_know_is_said_in_one_line(
    pattern: PatternConfig, run_dir: Path, manifests: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    trained = replace(TRAINED, model=replace(MODEL, pattern=pattern))
    write_json(run_dir / "config.json", {**asdict(trained), "versions": {}, "digests": {}})
    run_export(run_dir, manifests)
    notes = [line for line in capsys.readouterr().err.splitlines() if "note:" in line]
    card = (run_dir / "export" / "README.md").read_text()
    if pattern.kind == "delay":
        assert notes == []
        assert "in pattern delay (delays 0 1 2 3), conditioned on" in card
        assert "right for" not in card
    else:
        assert len(notes) == 1
        assert "not pattern unroll (flattening 0 1 2 3, delays 0 0 2 2): `musicgen generate` is right" in notes[0]
        assert "not pattern unroll" in card
    assert (run_dir / "export/transformers/model.safetensors").exists()
    model, _ = load_export(run_dir / "export")
    assert model.config.pattern == make_model(pattern=pattern).config.pattern


def test_a_frozen_model_that_moved_since_is_asked_for_where_it_lay(run_dir: Path, manifests: list[Path]) -> None:
    trained = replace(TRAINED, conditioner=T5ConditionerConfig(kind="t5", path=str(run_dir / "t5")))
    write_json(run_dir / "config.json", {**asdict(trained), "versions": {"torch": "x"}, "digests": {}})
    with pytest.raises(
        FileNotFoundError, match=r"no folder \S*/run/t5.*; it lay there when \S*/run was trained: put it"
    ):
        run_export(run_dir, manifests)


def test_an_old_export_is_replaced_whole(run_dir: Path, manifests: list[Path]) -> None:
    out = run_dir / "export"
    write_json(out / "left.json", {})
    run_export(run_dir, manifests)
    assert not (out / "left.json").exists()
    before = json.loads((out / "config.json").read_text())
    with pytest.raises(FileNotFoundError, match=r"train\.jsonl"):
        run_export(run_dir, [run_dir / "none"])
    assert json.loads((out / "config.json").read_text()) == before


def test_weights_of_another_config_are_named(
    run_dir: Path, manifests: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = make_model(num_layers=4).state_dict()
    monkeypatch.setattr(checkpoint, "load_best_weights", lambda run_dir: (state, {"step": 1, "loss": 1.0}))
    with pytest.raises(ValueError, match=r"unexpected: transformer\.layers\.3\."):
        run_export(run_dir, manifests)


def test_it_carries_its_codec_and_its_words(run_dir: Path, manifests: list[Path]) -> None:
    write_jsonl(manifests[0] / "evaluate.jsonl", [track(5, caption="Slow rock, slowly")])
    out = run_export(run_dir, manifests)
    folder = codec_folder(out)
    assert folder is not None
    assert load_codec(folder).spec == CODEC
    assert read_words(out) == ["rock", "slow", "slowly"]


def test_another_codec_is_refused(run_dir: Path, manifests: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(shipped_codec_folder(), other)
    values = json.loads((other / "config.json").read_text())
    write_json(other / "config.json", {**values, "name": "other"})
    with pytest.raises(ValueError, match=rf"trained on codec tiny with digest {CODEC.digest}, but .*other has"):
        run_export(run_dir, manifests, other)


def test_what_transformers_cannot_hold_is_said_in_one_line(
    run_dir: Path, manifests: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = {"key": AttributeConditionConfig(kind="attribute")}
    trained = replace(TRAINED, model=replace(MODEL, conditions=conditions))
    write_json(run_dir / "config.json", {**asdict(trained), "versions": {}, "digests": {}})
    state = make_model(conditions=conditions).state_dict()
    monkeypatch.setattr(checkpoint, "load_best_weights", lambda run_dir: (state, {"step": 1, "loss": 1.0}))
    out = run_export(run_dir, manifests)
    notes = [line for line in capsys.readouterr().err.splitlines() if "note:" in line]
    assert len(notes) == 1
    assert "key by cross: the folder holds the language model alone" in notes[0]
    assert json.loads((out / "transformers/config.json").read_text())["architectures"] == ["MusicgenForCausalLM"]
    assert "`transformers.MusicgenForCausalLM.from_pretrained`" in (out / "README.md").read_text()
