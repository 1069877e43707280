"""Codec and text encoder of another's files: whole or refused, and the settings that change every edge."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_t5 import write_t5

from musicgen_core.codec.convert import from_audiocraft, read_as_audiocraft, read_as_transformers, write_codec
from musicgen_core.codec.load import load_codec
from musicgen_core.config.codec_spec import read_codec_folder, shipped_codec_folder
from musicgen_core.config.model import ModelConfig, T5ConditionerConfig
from musicgen_core.layouts.transformers_write import save_composite
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import build_model
from musicgen_core.tools import convert

SHIPPED = shipped_codec_folder()
FORMAT = {"format": "pt"}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model in transformers' layout."""
    folder = tmp_path_factory.mktemp("theirs")
    words = T5ConditionerConfig(kind="t5", path=str(write_t5(tmp_path_factory.mktemp("t5"))))
    model = build_model(ModelConfig(dim=64, num_heads=4, num_layers=1), words, read_codec_folder(SHIPPED))
    initialize(model, 0)
    save_composite(folder, model, SHIPPED, [], 10)
    return folder


@pytest.mark.parametrize("part", ["audio_encoder", "text_encoder"])
def test_what_is_lost_or_odd_is_named(part: str, theirs: Path, tmp_path: Path) -> None:
    path = theirs / "model.safetensors"
    whole = load_file(path)
    lost, odd = sorted(name for name in whole if name.startswith(f"{part}.") and whole[name].ndim > 1)[:2]
    wrong = {name: tensor for name, tensor in whole.items() if name != lost} | {odd: torch.zeros(2, 2)}
    save_file(wrong, path, FORMAT)
    try:
        with pytest.raises(ValueError, match="weights do not fit the model") as caught:
            convert.run(source=theirs, out=tmp_path / "ours")
    finally:
        save_file(whole, path, FORMAT)
    assert f"missing: {lost.partition('.')[2]}" in str(caught.value)
    assert f"of another shape: {odd.partition('.')[2]} is [2, 2], the model has" in str(caught.value)
    assert not (tmp_path / "ours").exists()


def test_a_codec_of_audiocraft_with_an_odd_weight_is_refused() -> None:
    settings, state = read_as_audiocraft(SHIPPED)
    with pytest.raises(ValueError, match=r"file\.bin: encoder\.surprise: no counterpart in transformers' EncodecModel"):
        from_audiocraft(settings, {**state, "encoder.surprise": torch.zeros(1)}, "file.bin")


def test_the_way_of_padding_is_taken_over_and_matters_at_the_edges(tmp_path: Path) -> None:
    """Released weights pad by reflection, AudioCraft's default config says constant: the file decides."""
    settings, state = read_as_audiocraft(SHIPPED)
    wav = 0.3 * torch.randn(1, 1, 16_000, generator=torch.Generator().manual_seed(0))
    codes = {}
    for mode in ("reflect", "constant"):
        found, weights = from_audiocraft({**settings, "seanet": {**settings["seanet"], "pad_mode": mode}}, state, "x")
        assert found["pad_mode"] == mode
        (tmp_path / mode).mkdir()
        write_codec(tmp_path / mode, found, weights)
        codes[mode] = load_codec(tmp_path / mode).encode(wav)
    assert torch.equal(codes["reflect"], load_codec(SHIPPED).encode(wav))
    differs_T = (codes["reflect"] != codes["constant"]).any(1)[0]
    assert differs_T[[0, -1]].any()
    assert not differs_T[10:-10].any()


def test_names_of_older_transformers_are_read(tmp_path: Path) -> None:
    settings, state = read_as_transformers(SHIPPED)
    stem = "parametrizations.weight.original"
    old = {name.replace(f"{stem}0", "weight_g").replace(f"{stem}1", "weight_v"): t for name, t in state.items()}
    assert old.keys() != state.keys()
    write_codec(tmp_path, settings, old)
    wav = torch.randn(1, 1, 6400, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load_codec(tmp_path).encode(wav), load_codec(SHIPPED).encode(wav))
