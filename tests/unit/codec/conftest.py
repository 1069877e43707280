"""Small real codecs with random weights, made once per session."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from musicgen_core.codec.tiny import TinyCodecArchitecture, TinyEncodec, tiny_config
from musicgen_core.config.codec_spec import CONFIG_NAME, WEIGHTS_NAME
from musicgen_core.util.atomic import write_json


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny codec with an LSTM, so that its codes depend on the whole past."""
    torch.manual_seed(0)
    architecture = TinyCodecArchitecture(name="toy", card=32, num_filters=4, dimension=8, num_lstm_layers=1)
    model = TinyEncodec(architecture, norm="weight_norm").train()
    model(torch.randn(4, 1, 6400))  # k-means sets the codebooks
    folder = tmp_path_factory.mktemp("codec") / "toy"
    folder.mkdir()
    save_file(model.export_state(), folder / WEIGHTS_NAME)
    write_json(folder / CONFIG_NAME, tiny_config(architecture))
    return folder


@pytest.fixture(scope="session")
def encodec_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformers EncodecModel in the configuration of MusicGen's, but with few filters."""
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(1)
    config = EncodecConfig(
        sampling_rate=32_000,
        num_filters=4,
        hidden_size=16,
        upsampling_ratios=[8, 5, 4, 4],
        codebook_size=2048,
        target_bandwidths=[2.2],
        use_causal_conv=False,
        use_conv_shortcut=False,
        num_lstm_layers=1,
    )
    model = EncodecModel(config).eval()
    with torch.no_grad():
        latents_BTD = model.encoder(torch.randn(32, 1, 64 * 640)).transpose(1, 2)
        for layer in model.quantizer.layers:  # entries that lie where latents do, so that all of them compete
            layer.codebook.embed.copy_(latents_BTD.reshape(-1, 16)[torch.randperm(2048)])
    folder = tmp_path_factory.mktemp("codec") / "encodec_small"
    model.save_pretrained(folder)
    return folder
