"""Stereo from a mono codec: each channel is the mono codec's own, and the codebooks alternate."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from musicgen_core.codec.base import encode_track
from musicgen_core.codec.load import load_codec
from musicgen_core.codec.stereo import StereoCodec
from musicgen_core.config.codec_spec import read_codec_folder, read_codec_spec
from musicgen_core.config.data import EncodecCodecConfig, TinyCodecConfig, TokenizeConfig

CHUNKED = TokenizeConfig(chunk_sec=1.0, overlap_sec=0.2)


def make_wav(num_samples: int, batch: int = 2) -> torch.Tensor:
    return 0.3 * torch.randn(batch, 2, num_samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["tiny_folder", "encodec_folder"])
def test_channels_are_coded_apart_and_alternate(kind: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    mono, stereo = load_codec(folder), load_codec(folder, num_channels=2)
    assert isinstance(stereo, StereoCodec)
    wav = make_wav(10 * mono.spec.hop_samples + 7)
    codes = stereo.encode(wav)
    assert codes.shape == (2, 2 * mono.spec.num_codebooks, 11)
    assert torch.equal(codes[:, 0::2], mono.encode(wav[:, :1]))
    assert torch.equal(codes[:, 1::2], mono.encode(wav[:, 1:]))
    back = stereo.decode(codes)
    assert back.shape == (2, 2, 11 * mono.spec.hop_samples)
    assert torch.equal(back[:, 1:], mono.decode(codes[:, 1::2]))
    swapped = stereo.encode(wav.flip(1))
    assert torch.equal(swapped.unflatten(1, (-1, 2)).flip(2).flatten(1, 2), codes)
    latents = stereo.latents(wav)
    assert torch.equal(latents, torch.cat([mono.latents(wav[:, :1]), mono.latents(wav[:, 1:])], dim=1))


def test_order_is_that_of_transformers(encodec_folder: Path) -> None:
    """MusicgenForConditionalGeneration with audio_channels 2 lays its audio prompt out in the same order."""
    from transformers import EncodecModel, MusicgenForConditionalGeneration

    mono = EncodecModel.from_pretrained(encodec_folder)
    decoder = SimpleNamespace(config=SimpleNamespace(audio_channels=2), num_codebooks=8)
    composite: Any = SimpleNamespace(audio_encoder=mono, decoder=decoder, get_encoder=lambda modality: mono)
    wav = make_wav(6 * 640, batch=1)
    with torch.no_grad():
        found = MusicgenForConditionalGeneration._prepare_audio_encoder_kwargs_for_generation(composite, wav, {})
    assert torch.equal(found["decoder_input_ids"], load_codec(encodec_folder, num_channels=2).encode(wav)[0])


def test_spec(tiny_folder: Path, encodec_folder: Path) -> None:
    mono = read_codec_folder(tiny_folder)
    spec, folder = read_codec_spec(TinyCodecConfig(path=str(tiny_folder), num_channels=2))
    assert folder == tiny_folder
    assert (spec.num_channels, spec.num_codebooks, spec.interleaved) == (2, 8, True)
    assert (spec.card, spec.hop_samples, spec.sample_rate_hz) == (mono.card, mono.hop_samples, mono.sample_rate_hz)
    assert spec.name == "toy_stereo"
    assert spec.digest != mono.digest
    assert spec == load_codec(tiny_folder, num_channels=2).spec
    assert read_codec_spec(TinyCodecConfig(path=str(tiny_folder), num_channels=1))[0] == mono
    config = EncodecCodecConfig(kind="encodec", path=str(encodec_folder), num_channels=2)
    assert read_codec_spec(config)[0].num_codebooks == 8


def test_a_track_is_coded_in_chunks_as_any_other(tiny_folder: Path) -> None:
    codec = load_codec(tiny_folder, num_channels=2)
    wav = make_wav(3 * 16_000, batch=1)[0].numpy()
    codes = encode_track(codec, wav, CHUNKED)
    mono = load_codec(tiny_folder)
    assert np.array_equal(codes[1::2], encode_track(mono, wav[1:], CHUNKED))
    with pytest.raises(ValueError, match="track has 1 channels, codec toy_stereo takes 2"):
        encode_track(codec, wav[:1], CHUNKED)


def test_what_does_not_fit_is_named(tiny_folder: Path) -> None:
    codec = load_codec(tiny_folder, num_channels=2)
    with pytest.raises(ValueError, match=r"codec toy_stereo takes \[B, 2, N > 0\], got \(1, 1, 640\)"):
        codec.encode(torch.zeros(1, 1, 640))
    with pytest.raises(ValueError, match=r"takes \[B, 8, T > 0\], got \(1, 4, 3\)"):
        codec.decode(torch.zeros(1, 4, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"codes lie in \[32, 32\]"):
        codec.decode(torch.full((1, 8, 3), 32))


def test_other_changes_of_channels_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from musicgen_core.codec.tiny import TinyCodecArchitecture, TinyEncodec, tiny_config
    from musicgen_core.util.atomic import write_json

    architecture = TinyCodecArchitecture(name="joint", num_channels=2, card=16, num_filters=4, dimension=8)
    model = TinyEncodec(architecture).train()
    model(torch.randn(2, 2, 3200))
    save_file(model.export_state(), tmp_path / "model.safetensors")
    write_json(tmp_path / "config.json", tiny_config(architecture))
    assert not load_codec(tmp_path, num_channels=2).spec.interleaved  # it codes both channels together
    with pytest.raises(ValueError, match=r"has 2 channels, but codec\.num_channels is 1; set it to 2 or null"):
        load_codec(tmp_path, num_channels=1)
