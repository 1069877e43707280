"""Weights go out in each layout and come back bit for bit; what does not fit is named."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from small_t5 import write_t5

from musicgen_core.codec.load import load_codec
from musicgen_core.config.codec_channels import with_channels
from musicgen_core.config.codec_spec import read_codec_folder, shipped_codec_folder
from musicgen_core.config.condition import AttributeConditionConfig, ChromaConditionConfig
from musicgen_core.config.model import LutConditionerConfig, ModelConfig, T5ConditionerConfig
from musicgen_core.config.pattern import DelayPatternConfig, UnrollPatternConfig
from musicgen_core.layouts.audiocraft_files import read_package
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model
from musicgen_core.lm.weights import CODEC_NAME, load_export, write_export
from musicgen_core.tools import convert

SHIPPED = shipped_codec_folder()
CODEC = read_codec_folder(SHIPPED)
BASE = ModelConfig(dim=64, num_heads=4, num_layers=2, mask_condition_padding=False)
CHROMA = ChromaConditionConfig(kind="chroma", sample_rate_hz=16_000, num_frames=20, absent="silence")


@pytest.fixture(scope="session")
def wide_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As wide as one that AudioCraft has a name for."""
    return write_t5(tmp_path_factory.mktemp("wide"), width=512)


def make_export(folder: Path, kind: str, t5: Path, chroma: ChromaConditionConfig = CHROMA) -> LanguageModel:
    """A small model of a released kind, with its codec, as an export of ours."""
    fusion: Any = "prepend" if kind == "melody" else "cross"
    words: Any = (
        LutConditionerConfig() if kind == "table" else T5ConditionerConfig(kind="t5", path=str(t5), fusion=fusion)
    )
    config = replace(BASE, conditions={"self_wav": chroma} if kind == "melody" else {})
    spec = with_channels(CODEC, 2, SHIPPED) if kind == "stereo" else CODEC
    model = build_model(config, words, spec)
    initialize(model, 3)
    folder.mkdir()
    write_export(folder, model, words, spec, {"training": {"segment_sec": 5.0}})
    (folder / CODEC_NAME).mkdir()
    for path in SHIPPED.iterdir():
        (folder / CODEC_NAME / path.name).write_bytes(path.read_bytes())
    return model


def assert_same_weights(folder: Path, model: LanguageModel) -> LanguageModel:
    found, _ = load_export(folder)
    assert found.fusions == model.fusions
    assert found.config.pattern == model.config.pattern
    expected = model.state_dict()
    assert found.state_dict().keys() == expected.keys()
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    return found


@pytest.mark.parametrize("kind", ["text", "melody", "stereo", "table"])
def test_audiocraft_and_back(kind: str, tmp_path: Path, wide_t5: Path) -> None:
    model = make_export(tmp_path / "ours", kind, wide_t5)
    convert.run(source=tmp_path / "ours", out=tmp_path / "theirs", layout="audiocraft")
    text_encoder = None if kind == "table" else wide_t5
    convert.run(source=tmp_path / "theirs", out=tmp_path / "again", text_encoder=text_encoder, accept_pickle=True)
    found = assert_same_weights(tmp_path / "again", model)
    assert not found.config.mask_condition_padding
    assert_same_codec(tmp_path / "again")


@pytest.mark.parametrize("kind", ["text", "melody", "stereo"])
def test_transformers_and_back(kind: str, tmp_path: Path, t5_folder: Path) -> None:
    model = make_export(tmp_path / "ours", kind, t5_folder)
    convert.run(source=tmp_path / "ours", out=tmp_path / "theirs", layout="transformers")
    convert.run(source=tmp_path / "theirs", out=tmp_path / "again")
    found = assert_same_weights(tmp_path / "again", model)
    assert_same_codec(tmp_path / "again")
    rows = ["slow rock", None]
    expected = model.conditioner(model.conditioner.prepare(rows)).embeddings_BLD
    torch.testing.assert_close(found.conditioner(found.conditioner.prepare(rows)).embeddings_BLD, expected)


# every number is another than the default, the shipped codec's, and what follows from the segment
ODD_CHROMA = ChromaConditionConfig(
    kind="chroma", sample_rate_hz=24_000, radix2_exp=12, num_frames=20, argmax=False, absent="null"
)


@pytest.mark.parametrize("layout", ["transformers", "audiocraft"])
@pytest.mark.parametrize("chroma", [ODD_CHROMA, ChromaConditionConfig(kind="chroma", num_frames=40)])
def test_a_melody_comes_back_as_it_was(
    layout: Any, chroma: ChromaConditionConfig, tmp_path: Path, wide_t5: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_export(tmp_path / "ours", "melody", wide_t5, chroma)
    convert.run(source=tmp_path / "ours", out=tmp_path / "theirs", layout=layout)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    text_encoder = wide_t5 if layout == "audiocraft" else None
    convert.run(source=tmp_path / "theirs", out=tmp_path / "again", text_encoder=text_encoder, accept_pickle=True)
    assert load_export(tmp_path / "again")[0].config.conditions == {"self_wav": chroma}
    notes = {
        "trained with absent: null": chroma is ODD_CHROMA,
        "trained with argmax: false": chroma is ODD_CHROMA and layout == "transformers",
        "20 frames; AudioCraft makes 118": chroma is ODD_CHROMA and layout == "audiocraft",
        "follows the whole mix": layout == "audiocraft",
    }
    for note, expected in notes.items():
        assert any(note in line for line in said) is expected, note
    assert len(said) == sum(notes.values())


def test_the_melody_of_a_foreign_folder_is_read(tmp_path: Path, wide_t5: Path) -> None:
    """As released: no key of ours, all else in the files' own keys, where they are."""
    make_export(tmp_path / "ours", "melody", wide_t5, ODD_CHROMA)
    convert.run(source=tmp_path / "ours", out=tmp_path / "hub", layout="transformers")
    config, extractor = tmp_path / "hub" / "config.json", tmp_path / "hub" / "preprocessor_config.json"
    config.write_text(json.dumps({k: v for k, v in json.loads(config.read_text()).items() if k != "musicgen_core"}))
    convert.run(source=tmp_path / "hub", out=tmp_path / "read")
    released = replace(ODD_CHROMA, argmax=True, absent="silence")
    assert load_export(tmp_path / "read")[0].config.conditions == {"self_wav": released}
    extractor.write_text(json.dumps({**json.loads(extractor.read_text()), "hop_length": 1000}))
    with pytest.raises(ValueError, match=r"preprocessor_config.json: n_fft 4096 and hop_length 1000; .* power of 2"):
        convert.run(source=tmp_path / "hub", out=tmp_path / "no")
    extractor.unlink()
    convert.run(source=tmp_path / "hub", out=tmp_path / "bare")
    bare = ChromaConditionConfig(kind="chroma", num_frames=20)
    assert load_export(tmp_path / "bare")[0].config.conditions == {"self_wav": bare}
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_chroma": 24}))
    with pytest.raises(ValueError, match=r"config.json: num_chroma is 24; this project's melody has 12"):
        convert.run(source=tmp_path / "hub", out=tmp_path / "no")


def test_from_one_foreign_layout_to_the_other(tmp_path: Path, wide_t5: Path) -> None:
    model = make_export(tmp_path / "ours", "text", wide_t5)
    convert.run(source=tmp_path / "ours", out=tmp_path / "theirs", layout="audiocraft")
    convert.run(
        source=tmp_path / "theirs",
        out=tmp_path / "hub",
        layout="transformers",
        text_encoder=wide_t5,
        accept_pickle=True,
    )
    convert.run(source=tmp_path / "hub", out=tmp_path / "again")
    assert_same_weights(tmp_path / "again", model)
    assert not list(tmp_path.glob(".*"))


def assert_same_codec(folder: Path) -> None:
    torch.manual_seed(0)
    wav = torch.randn(1, 1, 16_000) * 0.1
    ours, copy = load_codec(SHIPPED), load_codec(folder / CODEC_NAME)
    codes = ours.encode(wav)
    assert torch.equal(copy.encode(wav), codes)
    torch.testing.assert_close(copy.decode(codes), ours.decode(codes), atol=1e-5, rtol=0)


def test_half_precision_comes_in_exactly(tmp_path: Path, wide_t5: Path) -> None:
    make_export(tmp_path / "ours", "text", wide_t5)
    convert.run(source=tmp_path / "ours", out=tmp_path / "theirs", layout="audiocraft")
    path = tmp_path / "theirs" / "state_dict.bin"
    package = torch.load(path, weights_only=True)
    package["best_state"] = {name: tensor.half() for name, tensor in package["best_state"].items()}
    torch.save(package, path)
    convert.run(source=tmp_path / "theirs", out=tmp_path / "again", text_encoder=wide_t5, accept_pickle=True)
    state = load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(state[name], tensor.float()) for name, tensor in package["best_state"].items())


def test_every_weight_that_does_not_fit_is_named(tmp_path: Path, wide_t5: Path) -> None:
    make_export(tmp_path / "ours", "text", wide_t5)
    convert.run(source=tmp_path / "ours", out=tmp_path / "theirs", layout="audiocraft")
    path = tmp_path / "theirs" / "state_dict.bin"
    package = torch.load(path, weights_only=True)
    state = package["best_state"]
    del state["emb.1.weight"]
    state["surprise"] = torch.zeros(1)
    state["linears.0.weight"] = torch.zeros(3, 64)
    torch.save(package, path)
    with pytest.raises(ValueError, match=r"state_dict\.bin: weights do not fit") as caught:
        convert.run(source=tmp_path / "theirs", out=tmp_path / "again", text_encoder=wide_t5, accept_pickle=True)
    for words in (
        "missing: emb.1.weight",
        "unexpected: surprise",
        "linears.0.weight is [3, 64], the model has [256, 64]",
    ):
        assert words in str(caught.value)
    assert not (tmp_path / "again").exists()


def test_a_missing_part_of_transformers_is_named(tmp_path: Path, t5_folder: Path) -> None:
    make_export(tmp_path / "ours", "text", t5_folder)
    convert.run(source=tmp_path / "ours", out=tmp_path / "theirs", layout="transformers")
    path = tmp_path / "theirs" / "model.safetensors"
    state = load_file(path)
    part = "decoder.model.decoder.layers.1.self_attn.k_proj.weight"
    save_file({name: tensor for name, tensor in state.items() if name != part}, path)
    with pytest.raises(ValueError, match=r"missing: transformer\.layers\.1\.self_attn\.in_proj_weight"):
        convert.run(source=tmp_path / "theirs", out=tmp_path / "again")
    save_file({**state, "decoder.novelty": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"unexpected: decoder\.novelty$"):
        convert.run(source=tmp_path / "theirs", out=tmp_path / "again")
    odd = {"surprise.weight": torch.zeros(1), "decoder.lm_heads.0.weight": torch.zeros(3, 64)}
    save_file({**{name: tensor for name, tensor in state.items() if name != part}, **odd}, path)
    with pytest.raises(ValueError, match=r"theirs: weights do not fit") as caught:
        convert.run(source=tmp_path / "theirs", out=tmp_path / "again")
    for words in ("missing: transformer.layers.1", "unexpected: surprise.weight", "linears.0.weight is [3, 64], the"):
        assert words in str(caught.value)


def test_what_audiocraft_only_names_is_asked_for(tmp_path: Path, wide_t5: Path) -> None:
    make_export(tmp_path / "ours", "text", wide_t5)
    theirs = tmp_path / "theirs"
    convert.run(source=tmp_path / "ours", out=theirs, layout="audiocraft")
    with pytest.raises(FileNotFoundError, match=r"needs the text encoder t5-small.*--text-encoder"):
        convert.run(source=theirs, out=tmp_path / "again", accept_pickle=True)
    torch.save({"pretrained": "facebook/encodec_32khz", "exported": True}, theirs / "compression_state_dict.bin")
    with pytest.raises(FileNotFoundError, match=r"only names a codec, facebook/encodec_32khz; .*--codec"):
        convert.run(source=theirs, out=tmp_path / "again", text_encoder=wide_t5, accept_pickle=True)
    convert.run(
        source=theirs / "state_dict.bin",
        out=tmp_path / "again",
        text_encoder=wide_t5,
        codec=SHIPPED,
        accept_pickle=True,
    )
    assert load_export(tmp_path / "again")[1]["codec"]["digest"] == CODEC.digest


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("transformer_lm.norm_first", False, r"transformer_lm\.norm_first is False; MusicGen's network has True"),
        ("lm_model", "transformer_lm_magnet", "this is no MusicGen"),
        ("codebooks_pattern.modeling", "spiral", r"codebooks_pattern is not understood .*spiral"),
        ("conditioners.description.model", "clap", r"conditioners\.description\.model is 'clap'; known are t5 and lut"),
        ("fuser.cross", [], "conditioner description is in none of the fuser's lists"),
    ],
)
def test_other_networks_are_refused(key: str, value: object, message: str, tmp_path: Path, wide_t5: Path) -> None:
    make_export(tmp_path / "ours", "text", wide_t5)
    convert.run(source=tmp_path / "ours", out=tmp_path / "theirs", layout="audiocraft")
    path = tmp_path / "theirs" / "state_dict.bin"
    package = torch.load(path, weights_only=True)
    config = yaml.safe_load(package["xp.cfg"])
    *parents, last = key.split(".")
    section = config
    for parent in parents:
        section = section[parent]
    section[last] = value
    torch.save({**package, "xp.cfg": yaml.safe_dump(config)}, path)
    with pytest.raises(ValueError, match=message):
        convert.run(source=tmp_path / "theirs", out=tmp_path / "again", text_encoder=wide_t5, accept_pickle=True)


def test_conditions_that_would_be_read_otherwise_are_refused(tmp_path: Path) -> None:
    """A prefix in another order, and tables whose values AudioCraft hashes as they are written."""
    words = LutConditionerConfig(fusion="prepend")
    for names, message in (
        (("title",), r"hashes a title as it is written"),
        (("genre", "key"), r"its prefix is genre, key, description, here it would be key, genre, description"),
    ):
        conditions: Any = {name: AttributeConditionConfig(kind="attribute", fusion="prepend") for name in names}
        model = build_model(replace(BASE, conditions=conditions), words, CODEC)
        initialize(model, 0)
        folder = tmp_path / names[0]
        folder.mkdir()
        write_export(folder, model, words, CODEC, {"training": {"segment_sec": 5.0}})
        convert.run(source=folder, out=folder / "theirs", layout="audiocraft", codec=SHIPPED)
        if len(names) == 1:
            with pytest.raises(ValueError, match=message):
                convert.run(source=folder / "theirs", out=folder / "again", accept_pickle=True)
            continue
        convert.run(source=folder / "theirs", out=folder / "again", accept_pickle=True)
        path = folder / "theirs/state_dict.bin"
        package = torch.load(path, weights_only=True)
        config = yaml.safe_load(package["xp.cfg"])
        config["conditioners"] = {name: config["conditioners"][name] for name in ("description", "key", "genre")}
        torch.save({**package, "xp.cfg": yaml.safe_dump(config, sort_keys=False)}, path)
        with pytest.raises(ValueError, match=message):
            convert.run(source=folder / "theirs", out=folder / "other", accept_pickle=True)


def test_other_patterns_come_through_audiocraft(tmp_path: Path, wide_t5: Path) -> None:
    for pattern in (
        UnrollPatternConfig(kind="unroll", flattening=(0, 1, 1, 1), delays=(0, 2, 2, 2)),
        DelayPatternConfig(delays=(0, 1, 1, 4), flatten_first=2),
    ):
        folder = tmp_path / pattern.kind
        words = LutConditionerConfig()
        model = build_model(replace(BASE, pattern=pattern), words, CODEC)
        initialize(model, 0)
        folder.mkdir()
        write_export(folder, model, words, CODEC, {"training": {"segment_sec": 5.0}})
        convert.run(source=folder, out=folder / "theirs", layout="audiocraft", codec=SHIPPED)
        convert.run(source=folder / "theirs", out=folder / "again", accept_pickle=True)
        assert_same_weights(folder / "again", model)


def test_references_in_the_config_are_resolved(tmp_path: Path, wide_t5: Path) -> None:
    make_export(tmp_path / "ours", "text", wide_t5)
    convert.run(source=tmp_path / "ours", out=tmp_path / "theirs", layout="audiocraft")
    path = tmp_path / "theirs" / "compression_state_dict.bin"
    package = torch.load(path, weights_only=True)
    config = yaml.safe_load(package["xp.cfg"])
    config["encodec"] |= {"sample_rate": "${sample_rate}", "channels": "${channels}"}
    config["seanet"] |= {"channels": "${encodec.channels}", "causal": "${encodec.causal}"}
    torch.save({**package, "xp.cfg": yaml.safe_dump(config)}, path)
    found, _ = read_package(path)
    assert found["encodec"]["sample_rate"] == 16_000
    assert found["seanet"]["causal"] is False
    assert found["seanet"]["channels"] == 1


def test_noncommercial_weights_need_a_flag(tmp_path: Path, t5_folder: Path) -> None:
    make_export(tmp_path / "ours", "text", t5_folder)
    convert.run(source=tmp_path / "ours", out=tmp_path / "theirs", layout="transformers")
    (tmp_path / "theirs" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    with pytest.raises(ValueError, match=r"non-commercial licence .*Give --accept-noncommercial to accept"):
        convert.run(source=tmp_path / "theirs", out=tmp_path / "again")
    convert.run(source=tmp_path / "theirs", out=tmp_path / "again", accept_noncommercial=True)
    assert load_export(tmp_path / "again")[1]["weights_license"] == "cc-by-nc-4.0"
    assert "license: cc-by-nc-4.0" in (tmp_path / "again" / "README.md").read_text()


def test_pickles_need_a_flag_and_are_not_opened_without(
    tmp_path: Path, wide_t5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_export(tmp_path / "ours", "text", wide_t5)
    theirs, hub = tmp_path / "theirs", tmp_path / "hub"
    convert.run(source=tmp_path / "ours", out=theirs, layout="audiocraft")
    convert.run(source=tmp_path / "ours", out=hub, layout="transformers")
    torch.save(load_file(hub / "model.safetensors"), hub / "pytorch_model.bin")
    (hub / "model.safetensors").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was opened"))
        for source in (theirs, theirs / "state_dict.bin", hub):
            with pytest.raises(ValueError, match=r"\.bin: a pickle.* it was not opened\. Give --accept-pickle"):
                convert.run(source=source, out=tmp_path / "again", text_encoder=wide_t5)
    convert.run(source=hub, out=tmp_path / "again", accept_pickle=True)
    assert (tmp_path / "again/model.safetensors").read_bytes() == (tmp_path / "ours/model.safetensors").read_bytes()


def test_how_padding_was_treated_in_training_comes_along(tmp_path: Path, t5_folder: Path) -> None:
    """Meta's weights, and files that do not say, saw padding; ours say in config.json, transformers ignores it."""
    words = T5ConditionerConfig(kind="t5", path=str(t5_folder))
    for masked in (True, False):
        ours, theirs, again = (tmp_path / f"{name} {masked}" for name in ("ours", "theirs", "again"))
        model = build_model(replace(BASE, mask_condition_padding=masked), words, CODEC)
        initialize(model, 0)
        ours.mkdir()
        write_export(ours, model, words, CODEC, {"training": {"segment_sec": 5.0}})
        convert.run(source=ours, out=theirs, layout="transformers", codec=SHIPPED)
        convert.run(source=theirs, out=again)
        assert load_export(again)[0].config.mask_condition_padding is masked
    path = tmp_path / "theirs False/config.json"
    values = json.loads(path.read_text())
    assert values.pop("mask_condition_padding") is False
    path.write_text(json.dumps(values))
    for flag in (False, True):
        convert.run(source=path.parent, out=tmp_path / f"said {flag}", mask_condition_padding=flag)
        assert load_export(tmp_path / f"said {flag}")[0].config.mask_condition_padding is flag


def test_bad_sources_are_named(tmp_path: Path, t5_folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder or file"):
        convert.run(source=tmp_path / "absent", out=tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"neither config\.json"):
        convert.run(source=tmp_path, out=tmp_path / "out")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="model_type is 'bert'; known are musicgen, musicgen_melody"):
        convert.run(source=tmp_path, out=tmp_path / "out")
    make_export(tmp_path / "ours", "text", t5_folder)
    with pytest.raises(ValueError, match="is an export of this project already"):
        convert.run(source=tmp_path / "ours", out=tmp_path / "out")


def test_what_audiocraft_lacks_is_said(tmp_path: Path, t5_folder: Path) -> None:
    make_export(tmp_path / "ours", "text", t5_folder)
    with pytest.raises(ValueError, match=r"a T5 of width 16; AudioCraft builds \[512, 768, 1024\] only"):
        convert.run(source=tmp_path / "ours", out=tmp_path / "out", layout="audiocraft")
    words = LutConditionerConfig()
    config = replace(BASE, conditions={"key": AttributeConditionConfig(kind="attribute")})
    model = build_model(config, words, CODEC)
    initialize(model, 0)
    (tmp_path / "keyed").mkdir()
    write_export(tmp_path / "keyed", model, words, CODEC, {"training": {"segment_sec": 5.0}})
    convert.run(source=tmp_path / "keyed", out=tmp_path / "theirs", layout="audiocraft", codec=SHIPPED)
    convert.run(source=tmp_path / "theirs", out=tmp_path / "again", accept_pickle=True)
    assert_same_weights(tmp_path / "again", model)
