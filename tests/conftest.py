"""Fixtures for all tests."""

import pytest

from musicgen_core.config.data import CodecSpec


@pytest.fixture
def codec_spec() -> CodecSpec:
    """A codec that exists only by name, for tests that need no audio."""
    return CodecSpec(
        name="made_up", digest="0" * 32, sample_rate_hz=16000, num_channels=1, num_codebooks=4, card=64, hop_samples=320
    )
