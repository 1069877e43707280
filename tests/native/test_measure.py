"""Loudness, peaks and bounds, on signals whose values are known."""

from __future__ import annotations

import numpy as np
import pytest

from musicgen_core import native


def sine(level_dbfs, rate_hz=48_000, seconds=5.0, frequency_hz=997.0, num_channels=2):
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    tone = 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * frequency_hz * t)
    return np.tile(tone.astype(np.float32), (num_channels, 1))


@pytest.mark.parametrize("level_dbfs", [-6.0, -20.0, -33.0])
@pytest.mark.parametrize("rate_hz", [32_000, 44_100, 48_000])
def test_sine_of_known_loudness(level_dbfs, rate_hz):
    """EBU Tech 3341: a stereo sine of 997 Hz at x dBFS (peak) has x LUFS; in one channel 3.01 less."""
    wav = sine(level_dbfs, rate_hz)
    found = native.measure(wav, rate_hz)
    assert found.loudness_lufs == pytest.approx(level_dbfs, abs=0.1)
    assert native.measure(wav[:1], rate_hz).loudness_lufs == pytest.approx(level_dbfs - 3.01, abs=0.1)
    assert found.peak == np.abs(wav).max()
    assert found.rms == pytest.approx(10 ** (level_dbfs / 20) / np.sqrt(2), rel=1e-3)
    assert found.true_peak_dbtp == pytest.approx(level_dbfs, abs=0.1)


def test_true_peak_sees_between_the_samples():
    t = np.arange(48_000)
    wav = np.sin(2 * np.pi * t / 4 + np.pi / 4).astype(np.float32)[None]  # samples at +-0.707 of a unit sine
    found = native.measure(wav, 48_000)
    assert found.peak == pytest.approx(0.7071, abs=1e-3)
    assert found.true_peak_dbtp == pytest.approx(0.0, abs=0.5)


def test_silence_and_short_audio():
    silent = native.measure(np.zeros((2, 48_000), np.float32), 48_000)
    assert (silent.peak, silent.rms, silent.loudness_lufs, silent.true_peak_dbtp) == (0.0, 0.0, None, None)
    short = native.measure(sine(-6, seconds=0.2), 48_000)
    assert short.loudness_lufs is None
    assert short.peak == pytest.approx(0.501, abs=1e-3)
    assert native.measure(np.zeros((1, 0), np.float32), 48_000).loudness_lufs is None


def test_measure_refuses_what_is_not_finite():
    wav = np.zeros((2, 100), np.float32)
    wav[1, 7] = np.nan
    with pytest.raises(ValueError, match="sample 7 of channel 1"):
        native.measure(wav, 48_000)
    with pytest.raises(ValueError, match="sample_rate_hz is 0"):
        native.measure(wav, 0)


def test_sound_bounds():
    wav = np.zeros((2, 1000), np.float32)
    assert native.sound_bounds(wav, -60) == (0, 0)
    wav[0, 300] = -0.01
    wav[1, 700] = 0.0011
    assert native.sound_bounds(wav, -60) == (300, 701)
    assert native.sound_bounds(wav, -50) == (300, 301)
    assert native.sound_bounds(wav, -10) == (0, 0)
    wav[:] = 1.0
    assert native.sound_bounds(wav, -60) == (0, 1000)
    assert native.sound_bounds(wav, 0) == (0, 0)  # above means above
    assert native.sound_bounds(wav[:, :0], -60) == (0, 0)


@pytest.mark.parametrize("num_samples", [1, 7, 8, 9, 4099])
def test_peak_and_rms_at_odd_lengths(num_samples):
    wav = np.random.default_rng(num_samples).uniform(-1, 1, (3, num_samples)).astype(np.float32)
    found = native.measure(wav, 44_100)
    assert found.peak == np.abs(wav).max()
    assert found.rms == pytest.approx(np.sqrt(np.mean(wav.astype(np.float64) ** 2)), rel=1e-6)
