"""A track's codes, chunk by chunk, against one encode of the whole."""

from pathlib import Path

import numpy as np
import pytest
import torch

from musicgen_core.codec.base import Codec, encode_track
from musicgen_core.codec.load import load_codec
from musicgen_core.config.codec_spec import shipped_codec_folder
from musicgen_core.config.data import TokenizeConfig
from musicgen_core.tools.demo_corpus import compose_track
from musicgen_core.tools.mixdown import render

CHUNKED = TokenizeConfig(chunk_sec=2.0, overlap_sec=1.0)


def _music(codec: Codec) -> np.ndarray:
    """Eleven seconds and a bit, float32 [1, N], not a whole number of frames."""
    return render(compose_track(0, seed=5)[0], codec.spec.sample_rate_hz, 1)[:, : 11 * codec.spec.sample_rate_hz + 77]


def _mismatch(codec: Codec, config: TokenizeConfig) -> float:
    wav_CN = _music(codec)
    whole_KT = codec.encode(torch.from_numpy(wav_CN)[None])[0].numpy()
    codes_KT = encode_track(codec, wav_CN, config)
    assert codes_KT.shape == whole_KT.shape
    assert codes_KT.dtype == np.uint16
    return float((codes_KT != whole_KT).mean())


def test_short_track_is_one_encode(tiny_folder: Path) -> None:
    assert _mismatch(load_codec(tiny_folder), TokenizeConfig()) == 0.0


def test_shipped_codec_has_a_finite_view_so_chunks_are_exact() -> None:
    assert _mismatch(load_codec(shipped_codec_folder()), CHUNKED) <= 0.001  # nothing but ties in the last bit


def test_chunks_of_an_lstm_codec_are_near(tiny_folder: Path, encodec_folder: Path) -> None:
    """Measured: 0 and 0.021. The second codec's 2048 entries crowd one small region, the worst case for near-ties."""
    assert _mismatch(load_codec(tiny_folder), CHUNKED) <= 0.005
    assert _mismatch(load_codec(encodec_folder), CHUNKED) <= 0.03


def test_context_is_what_makes_them_near(encodec_folder: Path) -> None:
    codec = load_codec(encodec_folder)
    without = _mismatch(codec, TokenizeConfig(chunk_sec=2.0, overlap_sec=0.0))  # measured: 0.17
    assert without > 4 * _mismatch(codec, CHUNKED)


def test_codes_are_a_function_of_the_samples(tiny_folder: Path) -> None:
    codec = load_codec(tiny_folder)
    wav_CN = _music(codec)
    first = encode_track(codec, wav_CN, CHUNKED)
    encode_track(codec, wav_CN[:, ::-1], CHUNKED)
    assert np.array_equal(first, encode_track(codec, np.asfortranarray(wav_CN), CHUNKED))


def test_one_sample_is_one_frame(tiny_folder: Path) -> None:
    assert encode_track(load_codec(tiny_folder), np.zeros((1, 1), np.float32), CHUNKED).shape == (4, 1)


def test_refusals(tiny_folder: Path) -> None:
    codec = load_codec(tiny_folder)
    with pytest.raises(ValueError, match="2 channels, codec toy takes 1"):
        encode_track(codec, np.zeros((2, 100), np.float32), CHUNKED)
    with pytest.raises(ValueError, match="0 samples"):
        encode_track(codec, np.zeros((1, 0), np.float32), CHUNKED)
