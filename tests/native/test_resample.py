"""Resampling against julius, which AudioCraft uses, and channel mixing against its rules."""

from __future__ import annotations

import julius
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicgen_core import native

from .conftest import signal

RATES = [
    (44_100, 32_000),
    (48_000, 32_000),
    (22_050, 32_000),
    (16_000, 32_000),
    (96_000, 32_000),
    (8_000, 32_000),
    (32_000, 24_000),
    (32_000, 44_100),
    (44_100, 48_000),
    (11_025, 16_000),
]


def by_julius(wav_CN, from_hz, to_hz):
    return julius.resample_frac(torch.from_numpy(wav_CN), from_hz, to_hz).numpy()


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_equals_julius(from_hz, to_hz):
    wav_CN = signal(from_hz + 17, 2, from_hz)
    expected = by_julius(wav_CN, from_hz, to_hz)
    found = native.resample(wav_CN, from_hz, to_hz)
    assert found.dtype == np.float32
    assert found.shape == (2, wav_CN.shape[1] * to_hz // from_hz)
    assert 0 <= expected.shape[1] - found.shape[1] <= 1  # julius rounds the length in float32
    np.testing.assert_allclose(found, expected[:, : found.shape[1]], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(RATES), st.integers(1, 3000), st.integers(0, 2**32 - 1))
def test_short_inputs_equal_julius(rates, num_samples, seed):
    wav_CN = np.random.default_rng(seed).uniform(-0.5, 0.5, (1, num_samples)).astype(np.float32)
    found = native.resample(wav_CN, *rates)
    assert found.shape[1] == num_samples * rates[1] // rates[0]
    if found.shape[1]:
        np.testing.assert_allclose(found, by_julius(wav_CN, *rates)[:, : found.shape[1]], atol=1e-6)


def test_length_is_exact_where_julius_rounds():
    num_samples = 90_682
    wav = np.zeros((1, num_samples), np.float32)
    assert native.resample(wav, 44_100, 32_000).shape[1] == num_samples * 32_000 // 44_100
    assert by_julius(wav, 44_100, 32_000).shape[1] == num_samples * 32_000 // 44_100 + 1


def test_a_part_with_context_is_the_slice_of_the_whole():
    wav_CN = signal(60_000, 1)
    whole = native.resample(wav_CN, 44_100, 32_000)
    part = native.resample(wav_CN[:, 441 * 20 : 441 * 80], 44_100, 32_000)
    assert part[:, 3200:-3200].tobytes() == whole[:, 320 * 20 + 3200 : 320 * 80 - 3200].tobytes()


def test_degenerate_inputs():
    wav_CN = signal(1000)
    np.testing.assert_array_equal(native.resample(wav_CN, 48_000, 48_000), wav_CN)
    assert native.resample(np.zeros((2, 0), np.float32), 44_100, 32_000).shape == (2, 0)
    assert native.resample(np.zeros((2, 1), np.float32), 44_100, 32_000).shape == (2, 0)
    constant = native.resample(np.full((1, 5000), 0.5, np.float32), 44_100, 32_000)
    np.testing.assert_allclose(constant, 0.5, atol=1e-6)
    transposed = np.ascontiguousarray(wav_CN.T).T  # not contiguous
    np.testing.assert_array_equal(native.resample(transposed, 3, 2), native.resample(wav_CN, 3, 2))


def test_refusals():
    wav_CN = signal(100)
    with pytest.raises(ValueError, match="from_hz is 0"):
        native.resample(wav_CN, 0, 32_000)
    with pytest.raises(ValueError, match="768001"):
        native.resample(wav_CN, 32_000, 768_001)
    with pytest.raises(ValueError, match="there are julius24 and hq"):
        native.resample(wav_CN, 3, 2, preset="soxr")
    with pytest.raises(native.LimitError, match="filter taps"):
        native.resample(wav_CN, 767_999, 768_000)
    for bad in (wav_CN[0], wav_CN.astype(np.float64), np.zeros((0, 5), np.float32)):
        with pytest.raises(ValueError, match="channels, samples"):
            native.resample(bad, 3, 2)


def test_mix_follows_audiocraft():
    wav = signal(999, 6)
    np.testing.assert_allclose(native.mix(wav, 1), torch.from_numpy(wav).mean(0, keepdim=True).numpy(), atol=1e-7)
    np.testing.assert_array_equal(native.mix(wav[:2], 1), torch.from_numpy(wav[:2]).mean(0, keepdim=True).numpy())
    np.testing.assert_array_equal(native.mix(wav[:1], 2), np.repeat(wav[:1], 2, axis=0))
    np.testing.assert_array_equal(native.mix(wav, 2), wav[:2])
    assert native.mix(wav[:2], 2).tobytes() == wav[:2].tobytes()
    assert native.mix(np.zeros((2, 0), np.float32), 1).shape == (1, 0)
    for have, want in [(2, 3), (2, 0), (1, 0), (1, -1)]:
        with pytest.raises(ValueError, match=f"{want} channels of {have}"):
            native.mix(wav[:have], want)


def level_db(from_hz, to_hz, frequency_hz, preset):
    """Level of what comes out for a tone of 0 dB, wherever it comes out; the ends left away."""
    tone = np.sin(2 * np.pi * frequency_hz / from_hz * np.arange(2 * from_hz)).astype(np.float32)[None]
    found = native.resample(tone, from_hz, to_hz, preset)[0].astype(np.float64)
    middle = found[len(found) // 4 : -len(found) // 4]
    return 10 * np.log10(2 * np.mean(middle**2) + 1e-30)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44_100, 32_000), (48_000, 32_000), (96_000, 44_100), (48_000, 24_000)])
def test_hq_rejects_aliases_and_keeps_the_band(from_hz, to_hz):
    edge_hz = to_hz / 2
    for share in (0.01, 0.5, 0.8, 0.9):
        assert abs(level_db(from_hz, to_hz, share * edge_hz, "hq")) < 0.01
    assert -0.5 < level_db(from_hz, to_hz, 0.94 * edge_hz, "hq") < 0.01
    for frequency_hz in np.linspace(1.0005 * edge_hz, 0.9999 * from_hz / 2, 23):  # every one lands in the band
        assert level_db(from_hz, to_hz, frequency_hz, "hq") < -100


@pytest.mark.parametrize(("from_hz", "to_hz"), [(32_000, 44_100), (16_000, 32_000)])
def test_hq_makes_no_images(from_hz, to_hz):
    """Upwards, a tone's images would lie beyond the old band edge: what is left without the tone is below -100 dB."""
    for share in (0.1, 0.7, 0.94):
        phase = 2 * np.pi * share * from_hz / 2 * np.arange(2 * to_hz) / to_hz
        tone = np.sin(2 * np.pi * share / 2 * np.arange(2 * from_hz)).astype(np.float32)[None]
        found = native.resample(tone, from_hz, to_hz, "hq")[0].astype(np.float64)
        middle = slice(len(found) // 4, -len(found) // 4)
        basis = np.stack([np.sin(phase), np.cos(phase)])[:, middle]
        weights, *_ = np.linalg.lstsq(basis.T, found[middle], rcond=None)
        rest = found[middle] - weights @ basis
        assert 10 * np.log10(2 * np.mean(rest**2)) < -100
        assert 20 * np.log10(np.hypot(*weights)) > -0.5


def test_julius24_trades_both():
    """What hq is for: AudioCraft's filter loses 4 dB there, and lets through what lies just above the band edge."""
    assert level_db(44_100, 32_000, 0.94 * 16_000, "julius24") < -3
    assert level_db(44_100, 32_000, 1.01 * 16_000, "julius24") > -60
