import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from small_models import CODEC, CONDITIONER, MODEL, make_model, random_sequence

from musicgen_core.config.pattern import DelayPatternConfig, PatternConfig, UnrollPatternConfig
from musicgen_core.config.root import ExportStageConfig, TrainStageConfig
from musicgen_core.config.training import TrainingConfig
from musicgen_core.data.manifest import ManifestRecord
from musicgen_core.lm.weights import load_export
from musicgen_core.stages import export
from musicgen_core.train import checkpoint
from musicgen_core.util.atomic import write_json, write_jsonl

TRAINED = TrainStageConfig(seed=3, codec=CODEC, model=MODEL, conditioner=CONDITIONER, training=TrainingConfig())
NOTHING = dict.fromkeys(ManifestRecord.__dataclass_fields__)


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


def test_writes_a_folder_that_loads(run_dir: Path, manifests: list[Path]) -> None:
    out = run_dir / "export"
    export.run(ExportStageConfig(), run_dir=run_dir, manifests=manifests, out=out)
    assert {path.name for path in out.iterdir()} == {"model.safetensors", "config.json", "README.md", "transformers"}
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
    export.run(ExportStageConfig(), run_dir=run_dir, manifests=manifests, out=run_dir / "export")
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


@pytest.mark.parametrize("pattern", [DelayPatternConfig(), UnrollPatternConfig(kind="unroll", delays=(0, 0, 2, 2))])
def test_a_pattern_that_transformers_does_not_know_is_said_in_one_line(
    pattern: PatternConfig, run_dir: Path, manifests: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    trained = replace(TRAINED, model=replace(MODEL, pattern=pattern))
    write_json(run_dir / "config.json", {**asdict(trained), "versions": {}, "digests": {}})
    export.run(ExportStageConfig(), run_dir=run_dir, manifests=manifests, out=run_dir / "export")
    notes = [line for line in capsys.readouterr().err.splitlines() if "transformers" in line]
    card = (run_dir / "export" / "README.md").read_text()
    if pattern.kind == "delay":
        assert notes == []
        assert "in pattern delay (delays 0 1 2 3), conditioned on" in card
        assert "does not know" not in card
    else:
        assert len(notes) == 1
        assert "not pattern unroll (flattening 0 1 2 3, delays 0 0 2 2): `musicgen generate` is right" in notes[0]
        assert "does not know this pattern: use it for logits only" in card
    assert (run_dir / "export/transformers/model.safetensors").exists()
    model, _ = load_export(run_dir / "export")
    assert model.config.pattern == make_model(pattern=pattern).config.pattern


def test_an_old_export_is_replaced_whole(run_dir: Path, manifests: list[Path]) -> None:
    out = run_dir / "export"
    write_json(out / "left.json", {})
    export.run(ExportStageConfig(), run_dir=run_dir, manifests=manifests, out=out)
    assert not (out / "left.json").exists()
    before = json.loads((out / "config.json").read_text())
    with pytest.raises(FileNotFoundError, match=r"train\.jsonl"):
        export.run(ExportStageConfig(), run_dir=run_dir, manifests=[run_dir / "none"], out=out)
    assert json.loads((out / "config.json").read_text()) == before


def test_weights_of_another_config_are_named(
    run_dir: Path, manifests: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = make_model(num_layers=4).state_dict()
    monkeypatch.setattr(checkpoint, "load_best_weights", lambda run_dir: (state, {"step": 1, "loss": 1.0}))
    with pytest.raises(ValueError, match=r"unexpected: transformer\.layers\.3\."):
        export.run(ExportStageConfig(), run_dir=run_dir, manifests=manifests, out=run_dir / "export")
