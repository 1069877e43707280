"""A folder that `from_pretrained` loads where this project is not installed, and that generates the same codes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from musicgen_core.codec.load import load_codec
from musicgen_core.conditioners.base import Conditioner
from musicgen_core.conditioners.lut import split_words
from musicgen_core.config.codec_channels import with_channels
from musicgen_core.config.codec_spec import read_codec_folder, shipped_codec_folder
from musicgen_core.config.condition import AttributeConditionConfig, ChromaConditionConfig
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.model import ConditionerConfig, LutConditionerConfig, ModelConfig, T5ConditionerConfig
from musicgen_core.config.pattern import DelayPatternConfig
from musicgen_core.layouts.obstacles import generation_notes, transformers_obstacles
from musicgen_core.layouts.text_encoder import express_text_encoder, vocabulary
from musicgen_core.layouts.transformers_write import save_composite
from musicgen_core.lm.generate import generate
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model

CODEC = read_codec_folder(shipped_codec_folder())
CAPTIONS = ["Slow rock ballad, (with piano)!", "fast techno"]
TABLE = LutConditionerConfig(num_bins=64, dim=16, max_words=8)
NUM_FRAMES = 15


def build(conditioner: ConditionerConfig = TABLE, codec: CodecSpec = CODEC, **overrides: Any) -> LanguageModel:
    config = replace(ModelConfig(dim=64, num_heads=4, num_layers=2), **overrides)
    model = build_model(config, conditioner, codec)
    initialize(model, 0)
    with torch.no_grad():
        for linear in model.linears:
            linear.weight *= 20  # clear winners: greedy codes must not hang on the last bit
    return model.eval()


def export(model: LanguageModel, folder: Path) -> Path:
    folder.mkdir()
    save_composite(folder, model, shipped_codec_folder(), vocabulary(CAPTIONS), NUM_FRAMES)
    return folder


MELODY = torch.nn.functional.one_hot(torch.tensor([[0, 4, 7, 0], [9, 9, 0, 4]]), 12).float()


@pytest.fixture(scope="session")
def models(t5_folder: Path) -> dict[str, LanguageModel]:
    words = T5ConditionerConfig(kind="t5", path=str(t5_folder))
    chroma = ChromaConditionConfig(kind="chroma", num_frames=6)
    stereo = with_channels(CODEC, 2, shipped_codec_folder())
    return {
        "table": build(),
        "t5": build(words),
        "stereo": build(codec=stereo),
        "melody": build(replace(words, fusion="prepend"), conditions={"self_wav": chroma}),
        "melody, stereo": build(replace(words, fusion="prepend"), stereo, conditions={"self_wav": chroma}),
    }


@pytest.fixture(scope="session")
def answers(models: dict[str, LanguageModel], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process without this project gets from the exported folders: one process, for its imports take long."""
    tmp_path = tmp_path_factory.mktemp("exports")
    requests: dict[str, Any] = {}
    for name, model in models.items():
        kind = "MusicgenMelodyForConditionalGeneration" if "melody" in name else "MusicgenForConditionalGeneration"
        folder = str(export(model, tmp_path / name))
        requests[name] = {"folder": folder, "class": kind, "captions": CAPTIONS, "options": {}}
    requests["table, unguided"] = {**requests["table"], "options": {"guidance_scale": 1.0}}
    requests["t5, unguided"] = {**requests["t5"], "options": {"guidance_scale": 1.0}}
    for name in ("melody", "melody, stereo"):
        requests[f"{name}, given"] = {**requests[name], "chroma": MELODY.tolist()}
    (tmp_path / "requests.json").write_text(json.dumps(requests))
    script = Path(__file__).with_name("stranger.py")
    command = [sys.executable, str(script), str(tmp_path / "requests.json"), str(tmp_path / "answers.pt")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(tmp_path / "answers.pt", weights_only=True)


def greedy(model: LanguageModel, rows: Any = CAPTIONS, cfg_coef: float = 3.0) -> torch.Tensor:
    return generate(model, rows, NUM_FRAMES, GenerationConfig(temperature=0, cfg_coef=cfg_coef))


@pytest.mark.parametrize("name", ["table", "t5"])
def test_same_codes_and_audio_without_this_project(
    name: str, models: dict[str, LanguageModel], answers: dict[str, Any]
) -> None:
    codes = greedy(models[name])
    assert torch.equal(answers[name]["codes"][0][0], codes)
    wav = load_codec(shipped_codec_folder()).decode(codes)
    torch.testing.assert_close(answers[name]["audio"], wav, atol=1e-5, rtol=0)
    assert len(codes.unique()) > 20
    assert torch.equal(answers[f"{name}, unguided"]["codes"][0][0], greedy(models[name], cfg_coef=1.0))


def test_nothing_is_to_be_said_of_a_default_melody(models: dict[str, LanguageModel]) -> None:
    assert generation_notes(models["melody"]) == []


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        ({"absent": "null"}, "trained with absent: null; transformers gives the chroma of silence"),
        ({"argmax": False}, "trained with argmax: false; transformers' processor keeps only the loudest"),
    ],
)
def test_what_transformers_does_otherwise_with_a_melody_is_said(
    overrides: dict[str, Any], note: str, t5_folder: Path
) -> None:
    words = T5ConditionerConfig(kind="t5", path=str(t5_folder), fusion="prepend")
    chroma = ChromaConditionConfig(kind="chroma", num_frames=6, **overrides)
    [found] = generation_notes(build(words, conditions={"self_wav": chroma}))
    assert note in found


def test_melody_too(models: dict[str, LanguageModel], answers: dict[str, Any]) -> None:
    rows = [{"description": text, "self_wav": tune} for text, tune in zip(CAPTIONS, MELODY, strict=True)]
    theirs, without = (answers[name]["codes"][0][0] for name in ("melody, given", "melody"))
    assert torch.equal(theirs, greedy(models["melody"], rows))
    assert torch.equal(without, greedy(models["melody"]))
    assert not torch.equal(theirs, without)


@pytest.mark.parametrize("name", ["stereo", "melody, stereo", "melody, stereo, given"])
def test_stereo_too(name: str, models: dict[str, LanguageModel], answers: dict[str, Any]) -> None:
    rows = [{"description": text, "self_wav": tune} for text, tune in zip(CAPTIONS, MELODY, strict=True)]
    codes = greedy(models[name.removesuffix(", given")], rows if "given" in name else CAPTIONS)
    left, right = answers[name]["codes"]
    assert torch.equal(left[0], codes[:, ::2])
    assert torch.equal(right[0], codes[:, 1::2])
    assert answers[name]["audio"].shape == (2, 2, NUM_FRAMES * CODEC.hop_samples)


def test_the_processor_loads(tmp_path: Path) -> None:
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(export(build(), tmp_path / "x"))
    inputs = processor(text=CAPTIONS, padding=True, return_tensors="pt")
    assert inputs["input_ids"].shape == (2, 5)
    assert processor.feature_extractor.sampling_rate == CODEC.sample_rate_hz


def encode_as_t5(conditioner: Conditioner, caption: str, model_dim: int) -> torch.Tensor:
    from transformers import T5Config, T5EncoderModel

    text = express_text_encoder(conditioner, vocabulary([caption]), model_dim)
    model = T5EncoderModel(T5Config(**text.config)).eval()
    model.load_state_dict(text.state)
    inputs = text.tokenizer([caption], truncation=True, return_tensors="pt")
    hidden = model(**inputs).last_hidden_state
    return torch.nn.functional.linear(hidden, text.projection["weight"], text.projection["bias"])


@torch.no_grad()
@pytest.mark.parametrize("model_dim", [17, 64])  # 17 would be the table's width and one
def test_a_table_is_a_t5_without_layers(model_dim: int) -> None:
    from musicgen_core.conditioners.lut import LutConditioner

    torch.manual_seed(1)
    conditioner = LutConditioner(TABLE, model_dim)
    for caption in ("Slow rock ballad, (with piano)!", "one", "a b c d e f g h i j"):
        expected = conditioner(conditioner.prepare([caption])).embeddings_BLD
        torch.testing.assert_close(encode_as_t5(conditioner, caption, model_dim), expected, atol=1e-5, rtol=0)


@given(st.text(st.characters(max_codepoint=0x24F, exclude_categories=["Cc", "Cs", "Zl", "Zp"])))
def test_the_tokenizer_splits_as_the_table_does(caption: str) -> None:
    from musicgen_core.layouts.text_encoder import _make_tokenizer

    words = vocabulary([caption])
    tokenizer = _make_tokenizer(words, 1000)
    tokens = tokenizer.tokenize(caption)
    assert tokens == split_words(caption)


def test_unknown_words_are_unk() -> None:
    text = express_text_encoder(build().conditioner, ["rock"], 64)
    assert text.tokenizer("rock unheard", return_tensors="pt")["input_ids"].tolist() == [[2, 1]]


def test_what_cannot_be_expressed_is_said(tmp_path: Path, t5_folder: Path) -> None:
    other = build(conditions={"key": AttributeConditionConfig(kind="attribute")})
    assert "description by cross, key by cross" in transformers_obstacles(other)[0]
    with pytest.raises(ValueError, match="words by cross-attention, or words and melody as a prefix"):
        export(other, tmp_path / "x")
    delayed = build(pattern=DelayPatternConfig(delays=(0, 2, 4, 6)), mask_condition_padding=False)
    assert [note.split(":")[0] for note in generation_notes(delayed)] == [
        "its `generate` knows MusicGen's delays only, not pattern delay (delays 0 2 4 6)",
        "this model was trained to see padding as zeros, transformers hides it",
    ]
    wide = build(T5ConditionerConfig(kind="t5", path=str(t5_folder)), dim=16)
    with pytest.raises(ValueError, match=r"T5 is as wide as the language model \(16\)"):
        save_composite(tmp_path, wide, shipped_codec_folder(), [], 10)
