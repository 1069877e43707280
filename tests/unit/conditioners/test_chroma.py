"""Chroma equals transformers' MusicgenMelodyFeatureExtractor, and becomes a prefix of fixed length."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from musicgen_core.conditioners.chroma import (
    ChromaConditioner,
    Recording,
    chroma_filters,
    compute_chroma,
)
from musicgen_core.config.condition import ChromaConditionConfig

CONFIG = ChromaConditionConfig(kind="chroma", num_frames=10)


def tone(frequency_hz: float, num_samples: int, rate_hz: int = 32_000) -> Recording:
    wav = np.sin(2 * np.pi * frequency_hz * np.arange(num_samples) / rate_hz)
    return Recording(wav[None].astype(np.float32), rate_hz)


def test_filters_are_librosas() -> None:
    from transformers.audio_utils import chroma_filter_bank

    expected = chroma_filter_bank(sampling_rate=32_000, num_frequency_bins=16_384, tuning=0, num_chroma=12)
    np.testing.assert_allclose(chroma_filters(32_000, 16_384).numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("num_samples", [1, 5_000, 16_384, 100_001])
def test_equals_transformers(num_samples: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing torchaudio
        from transformers import MusicgenMelodyFeatureExtractor
    noise = np.random.default_rng(0).standard_normal(num_samples) * 0.1
    time = np.arange(num_samples) / 32_000
    wav = (np.sin(2 * np.pi * (200 + 300 * time) * time) + noise).astype(np.float32)
    theirs = MusicgenMelodyFeatureExtractor()(wav[None], sampling_rate=32_000, return_tensors="pt").input_features[0]
    assert torch.equal(compute_chroma(Recording(wav[None], 32_000), CONFIG), theirs)


def test_thirty_seconds_are_235_frames() -> None:
    assert len(compute_chroma(Recording(np.zeros((1, 960_000), np.float32), 32_000), CONFIG)) == 235
    assert compute_chroma(Recording(np.zeros((1, 1), np.float32), 32_000), CONFIG)[:, 0].tolist() == [1] * 5


def test_a_segment_ends_with_its_music() -> None:
    """15 s of music in a segment of 30 s: positions below n / 4,096, that is 118, as AudioCraft trains; then zeros."""
    conditioner = ChromaConditioner(replace(CONFIG, num_frames=235), output_dim=6)
    taken = conditioner.take(Recording(np.zeros((1, 960_000), np.float32), 32_000, num_valid=480_000))
    prepared = conditioner.prepare([taken])
    assert prepared.mask_BL[0].tolist() == [True] * 118 + [False] * 117
    assert conditioner(prepared).embeddings_BLD[0, 118:].eq(0).all()


@pytest.mark.parametrize(("frequency_hz", "pitch_class"), [(261.63, 0), (440.0, 9), (880.0, 9), (493.88, 11)])
@pytest.mark.parametrize("rate_hz", [32_000, 44_100])
def test_pitch_classes(frequency_hz: float, pitch_class: int, rate_hz: int) -> None:
    chroma = compute_chroma(tone(frequency_hz, rate_hz, rate_hz), CONFIG)
    assert chroma.argmax(1).tolist()[1:-1] == [pitch_class] * (len(chroma) - 2)
    assert chroma.sum(1).eq(1).all()


def test_conditions_are_cut_or_repeated() -> None:
    conditioner = ChromaConditioner(replace(CONFIG, absent="null"), output_dim=6)
    short, long = torch.eye(12)[:4], torch.eye(12)
    prepared = conditioner.prepare([short, long, None])
    assert prepared.features_BLE is not None
    assert prepared.features_BLE[0].argmax(1).tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert prepared.features_BLE[1].argmax(1).tolist() == list(range(10))
    condition = conditioner(prepared)
    assert condition.embeddings_BLD[2].eq(0).all()
    assert condition.mask_BL.sum(1).tolist() == [10, 10, 0]
    null = conditioner.null(1)
    assert torch.equal(null.embeddings_BLD, condition.embeddings_BLD[2:])


def test_silence_stands_for_no_melody() -> None:
    conditioner = ChromaConditioner(CONFIG, output_dim=6)
    silent = Recording(np.zeros((1, 1), np.float32), 32_000)
    absent, given = conditioner(conditioner.prepare([None, silent])).embeddings_BLD
    assert torch.equal(absent, given)
    assert torch.equal(conditioner.null(1).embeddings_BLD[0], given)


def test_a_recording_equals_its_chroma() -> None:
    conditioner = ChromaConditioner(CONFIG, output_dim=6)
    recording = tone(330, 40_000)
    from_wav, from_chroma = conditioner.prepare([recording]), conditioner.prepare([conditioner.extract(recording)])
    assert from_wav.features_BLE is not None
    assert from_chroma.features_BLE is not None
    assert torch.equal(from_wav.features_BLE, from_chroma.features_BLE)


def test_separation_is_pluggable() -> None:
    conditioner = ChromaConditioner(CONFIG, output_dim=6)
    plain = conditioner.extract(tone(330, 40_000))
    conditioner.separate = lambda recording: tone(440, recording.wav_CN.shape[1])
    assert not torch.equal(conditioner.extract(tone(330, 40_000)), plain)
    assert torch.equal(conditioner.extract(tone(330, 40_000)), compute_chroma(tone(440, 40_000), CONFIG))


def test_bad_shapes_are_named() -> None:
    conditioner = ChromaConditioner(CONFIG, output_dim=6)
    with pytest.raises(ValueError, match=r"chroma is \[frames > 0, 12\], got \[4, 11\]"):
        conditioner.prepare([torch.zeros(4, 11)])
    with pytest.raises(ValueError, match=r"a recording is \[channels, samples > 0\], got \[5\]"):
        conditioner.prepare([Recording(np.zeros(5, np.float32), 32_000)])
