import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from musicgen_core.codec.load import load_codec
from musicgen_core.codec.tiny import TinyCodecArchitecture, TinyEncodec, tiny_config


def test_shapes_and_range(tiny_folder: Path) -> None:
    codec = load_codec(tiny_folder)
    wav_BCN = torch.randn(3, 1, 3201)
    codes_BKT = codec.encode(wav_BCN)
    assert codes_BKT.shape == (3, 4, 11)
    assert codes_BKT.dtype == torch.int64
    assert codes_BKT.min() >= 0
    assert codes_BKT.max() < 32
    assert codec.decode(codes_BKT).shape == (3, 1, 11 * 320)
    assert codec.latents(wav_BCN).shape == (3, 8, 11)


def test_a_file_holds_what_was_trained(tmp_path: Path) -> None:
    torch.manual_seed(3)
    architecture = TinyCodecArchitecture(num_filters=4, dimension=8, card=16)
    model = TinyEncodec(architecture).train()
    wav_BCN = torch.randn(2, 1, 3200)
    model(wav_BCN)
    save_file(model.export_state(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(tiny_config(architecture)))
    codec = load_codec(tmp_path)
    with torch.no_grad():
        output_BCN, codes_BKT, _ = model.eval()(wav_BCN)
    assert torch.equal(codec.encode(wav_BCN), codes_BKT)
    torch.testing.assert_close(codec.decode(codes_BKT), output_BCN)


@pytest.mark.parametrize("shape", [(1, 2, 3200), (1, 1, 0), (1, 3200)])
def test_wrong_waveform_is_refused(tiny_folder: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="codec toy takes"):
        load_codec(tiny_folder).encode(torch.zeros(shape))


def test_special_tokens_are_refused(tiny_folder: Path) -> None:
    codes_BKT = torch.zeros(1, 4, 5, dtype=torch.int64)
    codes_BKT[0, 3, 0] = 32
    with pytest.raises(ValueError, match=r"\[0, 32\].*\[0, 31\]"):
        load_codec(tiny_folder).decode(codes_BKT)


def test_config_that_does_not_fit_names_tensor_and_shapes(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "codec"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "card": 64}))
    with pytest.raises(ValueError, match=r"model.safetensors: .*is \[32, 8\], the model has \[64, 8\]"):
        load_codec(folder)
    (folder / "config.json").write_text(json.dumps({**config, "num_codebooks": 5}))
    with pytest.raises(ValueError, match=r"missing: quantizer\.\S+\. config\.json and the weights"):
        load_codec(folder)


def test_missing_tensor_is_named(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "codec"))
    state = load_file(folder / "model.safetensors")
    del state["encoder.model.0.conv.conv.bias"]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"missing: encoder\.model\.0\.conv\.conv\.bias\. "):
        load_codec(folder)
