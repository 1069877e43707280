import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import CODEC, CONDITIONER, MODEL, make_model, random_condition, random_sequence

from musicgen_core.config.pattern import DelayPatternConfig, MusicLMPatternConfig
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.config.training import TrainingConfig
from musicgen_core.lm.interchange import save_transformers, transformers_generates_alike
from musicgen_core.lm.model import LanguageModel
from musicgen_core.lm.weights import load_export, read_codec, save_export

TRAINED = TrainStageConfig(seed=3, codec=CODEC, model=MODEL, conditioner=CONDITIONER, training=TrainingConfig())


@pytest.fixture
def export(tmp_path: Path, model: LanguageModel) -> Path:
    save_export(tmp_path, model, TRAINED, {"step": 7})
    return tmp_path


@torch.no_grad()
def test_round_trip(export: Path, model: LanguageModel) -> None:
    loaded, info = load_export(export)
    assert loaded.config == model.config
    assert not loaded.training
    assert info["step"] == 7
    assert info["model"]["pattern"] == {"kind": "delay", "delays": [0, 1, 2, 3], "flatten_first": 0, "empty_initial": 0}
    assert read_codec(info) == CODEC
    prepared = model.conditioner.prepare(["slow rock"])
    sequence = random_sequence(model, 1, 9)
    assert torch.equal(loaded(sequence, prepared), model(sequence, prepared))


def test_weights_are_float32_and_the_same_bytes_twice(export: Path, tmp_path: Path, model: LanguageModel) -> None:
    again = tmp_path / "again"
    again.mkdir()
    save_export(again, model, TRAINED, {"step": 7})
    for name in ("model.safetensors", "config.json"):
        assert (again / name).read_bytes() == (export / name).read_bytes()
    assert {tensor.dtype for tensor in load_file(export / "model.safetensors").values()} == {torch.float32}


def test_every_weight_that_does_not_fit_is_named(export: Path) -> None:
    state = load_file(export / "model.safetensors")
    del state["emb.1.weight"], state["out_norm.bias"]
    state["surprise"] = torch.zeros(1)
    state["linears.0.weight"] = torch.zeros(3, 64)
    save_file(state, export / "model.safetensors")
    with pytest.raises(ValueError, match="do not fit") as caught:
        load_export(export)
    message = str(caught.value)
    assert "missing: emb.1.weight, out_norm.bias" in message
    assert "unexpected: surprise" in message
    assert "linears.0.weight is [3, 64], the model has [40, 64]" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not an export of this project"),
        ({"version": 9}, "version 9, but this code reads 2"),
        ({"codec": None}, "codec missing"),
        ({"model": {"sizes": "tiny"}}, "unknown key `sizes`; did you mean `size`"),
    ],
)
def test_foreign_configs_are_named(export: Path, change: dict[str, object], message: str) -> None:
    path = export / "config.json"
    config = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    with pytest.raises(ValueError, match=message):
        load_export(export)


def test_absent_files_are_named(export: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json: absent"):
        load_export(tmp_path / "nowhere")
    (export / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors: absent"):
        load_export(export)


def test_truncated_weights_are_named(export: Path) -> None:
    path = export / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors: damaged .*; export the run again"):
        load_export(export)


def test_diverged_weights_are_refused(tmp_path: Path) -> None:
    model = make_model()
    with torch.no_grad():
        model.out_norm.bias[3] = float("inf")
    with pytest.raises(ValueError, match=r"NaN or infinity: out_norm\.bias"):
        save_export(tmp_path, model, TRAINED, {})


def test_extra_keys_may_not_hide_the_exports_own(tmp_path: Path, model: LanguageModel) -> None:
    with pytest.raises(ValueError, match=r"\['codec'\]"):
        save_export(tmp_path, model, TRAINED, {"codec": "mine"})


@torch.no_grad()
@pytest.mark.parametrize(("num_codebooks", "delays"), [(4, None), (8, (0, 0, 1, 1, 2, 2, 3, 3))])
def test_transformers_loads_it(tmp_path: Path, num_codebooks: int, delays: tuple[int, ...] | None) -> None:
    from transformers import MusicgenForCausalLM

    model = make_model(num_codebooks, pattern=DelayPatternConfig(delays=delays))
    save_transformers(tmp_path, model)
    other, report = MusicgenForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert other.config.audio_channels == (2 if delays else 1)
    assert other.config.dropout == other.config.attention_dropout == 0
    assert other.generation_config.decoder_start_token_id == model.special
    sequence, condition = random_sequence(model, 2, 30), random_condition(model, [2, 5])
    theirs = other.eval()(
        input_ids=sequence.flatten(0, 1),
        encoder_hidden_states=condition.embeddings_BLD,
        encoder_attention_mask=condition.mask_BL.long(),
    ).logits
    torch.testing.assert_close(model(sequence, condition), theirs.view(2, num_codebooks, 30, -1), atol=1e-4, rtol=0)


def test_only_known_delays_generate_alike(model: LanguageModel) -> None:
    assert transformers_generates_alike(model)
    assert transformers_generates_alike(make_model(2, pattern=DelayPatternConfig(delays=(0, 0))))
    assert not transformers_generates_alike(make_model(3, pattern=DelayPatternConfig(delays=(0, 0, 1))))
    assert not transformers_generates_alike(make_model(pattern=DelayPatternConfig(delays=(0, 2, 4, 6))))
    assert not transformers_generates_alike(make_model(pattern=DelayPatternConfig(flatten_first=1)))
    assert not transformers_generates_alike(make_model(pattern=MusicLMPatternConfig(kind="musiclm")))


def test_t5_path_survives(tmp_path: Path, model: LanguageModel) -> None:
    """The export names the conditioner's folder; a folder that is gone is an error that says which key."""
    from musicgen_core.config.model import T5ConditionerConfig

    trained = replace(TRAINED, conditioner=T5ConditionerConfig(kind="t5", path=str(tmp_path / "gone")))
    save_export(tmp_path, model, trained, {})
    with pytest.raises(FileNotFoundError, match=r"conditioner\.path: no folder"):
        load_export(tmp_path)
