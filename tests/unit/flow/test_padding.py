"""Whether padded words are hidden: as the config says, else as in the weights that a run starts from."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.load import parse_config, resolve_runs, to_json
from musicgen_core.config.root import RunConfig, project_train
from musicgen_core.flow.padding import read_padding, settle_padding

CODEC = CodecSpec(
    name="test", digest="0" * 32, sample_rate_hz=16000, num_channels=1, num_codebooks=4, card=40, hop_samples=320
)


def write(path: Path, values: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return path.parent


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """Of each kind, one whose weights saw padding; `hid` did not."""
    saw = {"model": {"mask_condition_padding": False}}
    run = write(tmp_path / "run" / "config.json", saw)
    step = write(run / "checkpoints" / "best-00000002" / "manifest.json", {})
    audiocraft = tmp_path / "audiocraft"
    audiocraft.mkdir()
    (audiocraft / "state_dict.bin").write_bytes(b"")
    return {
        "run": run,
        "checkpoint": step,
        "export": write(tmp_path / "export" / "config.json", {"format": "musicgen_core", **saw}),
        "transformers": write(tmp_path / "meta" / "config.json", {"model_type": "musicgen"}),
        "audiocraft": audiocraft,
        "file": audiocraft / "state_dict.bin",
        "hid": write(tmp_path / "hid" / "config.json", {"model": {"mask_condition_padding": True}}),
        "ours for transformers": write(
            tmp_path / "ours" / "config.json", {"model_type": "musicgen", "mask_condition_padding": True}
        ),
    }


def settle(cache: Path, **runs: Any) -> dict[str, RunConfig]:
    raw = {"corpora": {"mine": {"path": "music"}}, "runs": runs}
    return settle_padding(resolve_runs(parse_config(raw)), cache / "padding.json")


def masks(cache: Path, **runs: Any) -> dict[str, bool | None]:
    return {name: run.model.mask_condition_padding for name, run in settle(cache, **runs).items()}


def starts(path: Path | str, **model: Any) -> dict[str, Any]:
    return {"training": {"init_from": {"path": str(path)}}, "model": model}


@pytest.mark.parametrize(
    "kind", ["run", "checkpoint", "export", "transformers", "audiocraft", "file", "hid", "ours for transformers"]
)
def test_null_is_as_the_weights_were_trained(kind: str, sources: dict[str, Path], tmp_path: Path) -> None:
    hid = kind in ("hid", "ours for transformers")
    assert read_padding(sources[kind]) is hid
    found = masks(
        tmp_path,
        base={},
        tuned=starts(sources[kind]),
        again={"training": {"init_from": {"run": "tuned"}}},
        said={**starts(sources[kind], mask_condition_padding=not hid)},
        prefix={**starts(sources[kind]), "conditioner": {"fusion": "prepend"}},
    )
    assert found == {"base": True, "tuned": hid, "again": hid, "said": not hid, "prefix": True}


def test_a_source_that_is_gone_keeps_what_it_said(sources: dict[str, Path], tmp_path: Path) -> None:
    runs = {"tuned": starts(sources["export"])}
    assert masks(tmp_path, **runs) == {"tuned": False}
    shutil.rmtree(sources["export"])
    assert masks(tmp_path, **runs) == {"tuned": False}
    assert masks(tmp_path / "elsewhere", **runs) == {"tuned": True}, "its digest is what fails"


def test_runs_that_start_from_nothing_are_what_they_were(tmp_path: Path) -> None:
    """Their parameters hold the value that was the default."""
    found, said = settle(tmp_path, base={}, said={"model": {"mask_condition_padding": True}}).values()
    text = to_json(project_train(found, CODEC))
    assert '"mask_condition_padding":true' in text
    assert text == to_json(project_train(said, CODEC))
    assert not (tmp_path / "padding.json").exists()
