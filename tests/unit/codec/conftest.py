"""Small real codecs with random weights, made once per session."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from musicgen_core.codec.tiny import TinyCodecArchitecture, TinyEncodec, tiny_config
from musicgen_core.config.codec_spec import CONFIG_NAME, WEIGHTS_NAME
from musicgen_core.tools.demo_corpus import compose_track
from musicgen_core.tools.mixdown import render
from musicgen_core.util.atomic import write_json


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny codec with an LSTM, so that its codes depend on the whole past."""
    torch.manual_seed(0)
    architecture = TinyCodecArchitecture(name="toy", card=32, num_filters=4, dimension=8, num_lstm_layers=1)
    model = TinyEncodec(architecture).train()
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
    music_BCN = torch.from_numpy(
        np.concatenate([render(compose_track(number, seed=9)[0], 32_000, 1)[:, : 9 * 32_000] for number in range(5)])
    )[:, None]
    with torch.no_grad():
        latents_ND = model.encoder(music_BCN).transpose(1, 2).flatten(0, 1)
        model.encoder.layers[-1].conv.bias -= latents_ND.mean(0)  # random latents lie far from 0: near-ties everywhere
        latents_ND -= latents_ND.mean(0)
        for level, layer in enumerate(model.quantizer.layers):  # entries lie where latents and residuals lie
            layer.codebook.embed.copy_(latents_ND[torch.randperm(len(latents_ND))[:2048]] * 0.3**level)
    folder = tmp_path_factory.mktemp("codec") / "encodec_small"
    model.save_pretrained(folder)
    return folder
