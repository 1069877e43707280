import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from musicgen_core.codec.load import load_codec


def test_codes_and_audio_equal_transformers(encodec_folder: Path) -> None:
    from transformers import EncodecModel

    codec, model = load_codec(encodec_folder), EncodecModel.from_pretrained(encodec_folder).eval()
    wav_BCN = torch.randn(2, 1, 20_001, generator=torch.Generator().manual_seed(2))
    codes_BKT = codec.encode(wav_BCN)
    assert codes_BKT.shape == (2, 4, 32)
    assert len(codes_BKT.unique()) > 50  # random weights, but far from one constant code
    with torch.no_grad():
        encoded = model.encode(wav_BCN)
        assert torch.equal(codes_BKT, encoded.audio_codes[0])
        expected = model.decode(encoded.audio_codes, encoded.audio_scales).audio_values
        assert torch.equal(codec.decode(codes_BKT), expected)
        assert torch.equal(codec.latents(wav_BCN), model.encoder(wav_BCN))


def test_all_codebooks_although_transformers_defaults_to_fewest(tmp_path: Path) -> None:
    from transformers import EncodecConfig, EncodecModel

    config = EncodecConfig(
        num_filters=2, hidden_size=8, num_lstm_layers=1, codebook_size=64, target_bandwidths=[0.9, 1.8]
    )
    EncodecModel(config).save_pretrained(tmp_path / "two_bandwidths")
    codec = load_codec(tmp_path / "two_bandwidths")
    assert codec.spec.num_codebooks == 4
    assert codec.encode(torch.randn(1, 1, 24_000)).shape == (1, 4, 75)


def test_weights_of_another_codec_are_refused(encodec_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encodec_folder, tmp_path / "codec"))
    state = load_file(folder / "model.safetensors")
    name = sorted(key for key in state if key.startswith("encoder"))[0]
    shortened = {key: value for key, value in state.items() if key != name}
    save_file(shortened, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=rf"model\.safetensors: weights do not fit the model\. missing: {re.escape(name)}\. config"
    ):
        load_codec(folder)
    save_file({**state, name: torch.zeros(3)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"of another shape: {re.escape(name)} is \[3\], the model has"):
        load_codec(folder)
