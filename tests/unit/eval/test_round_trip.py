"""Distances between audio and its reconstruction, and the spectra under them."""

import numpy as np
import pytest
import torch

from musicgen_core.eval.round_trip import log_mel_distance_db, measure_round_trip, round_trip_figures
from musicgen_core.eval.spectra import decibels, magnitudes, mel_filters

RATE = 16_000


def sine(hz: float, seconds: float = 1.0, gain: float = 0.5) -> np.ndarray:
    return (gain * np.sin(2 * np.pi * hz * np.arange(int(RATE * seconds)) / RATE)).astype(np.float32)[None]


def test_a_perfect_codec_has_no_distance() -> None:
    wav = sine(440)
    found = measure_round_trip([wav], [wav.copy()], RATE)
    assert found.si_snr_db[0] > 80
    assert found.log_mel_db == [0]
    assert found.log_stft_db == [0]


def test_si_snr_of_known_noise() -> None:
    wav = sine(400)
    noise = sine(3200, gain=0.05)
    assert measure_round_trip([wav], [wav + noise], RATE).si_snr_db[0] == pytest.approx(20, abs=0.1)


def test_halved_loudness_is_six_decibels_of_mel_and_no_noise() -> None:
    random = np.random.default_rng(0)
    wav = random.normal(scale=0.3, size=(1, RATE)).astype(np.float32)
    assert log_mel_distance_db(torch.from_numpy(wav / 2), torch.from_numpy(wav), RATE) == pytest.approx(6.02, abs=0.01)
    assert measure_round_trip([wav], [wav / 2], RATE).si_snr_db[0] > 60


def test_silent_pieces_are_counted_not_averaged() -> None:
    silent = np.zeros((1, RATE), dtype=np.float32)
    figures = round_trip_figures([sine(440), silent], [sine(440), silent], RATE)
    assert figures["si_snr_db"].samples == {"pieces": 1, "silent_pieces": 1, "seconds": 2}
    assert figures["log_mel_db"].value == 0
    assert round_trip_figures([silent], [silent], RATE)["si_snr_db"].value is None


def test_a_full_scale_sine_peaks_at_one() -> None:
    spectrum = magnitudes(torch.from_numpy(sine(1000, gain=1.0)), 512)
    assert float(spectrum.max()) == pytest.approx(1, abs=0.01)
    assert int(spectrum.mean(dim=-1).argmax()) == 1000 * 512 // RATE


def test_short_audio_is_padded() -> None:
    assert magnitudes(torch.zeros(1, 10), 256).shape == (1, 129, 1)


@pytest.mark.parametrize("window", [256, 512, 2048])
def test_mel_filters_are_whole(window: int) -> None:
    filters = mel_filters(RATE, window, 64)
    torch.testing.assert_close(filters.sum(dim=1), torch.ones(64))
    centres = filters.argmax(dim=1)
    assert (centres.diff() >= 0).all()


def test_decibels_have_a_floor() -> None:
    torch.testing.assert_close(decibels(torch.tensor([1.0, 0.1, 0.0]), -80), torch.tensor([0.0, -20.0, -80.0]))
