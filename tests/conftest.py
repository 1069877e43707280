"""Fixtures for all tests."""

import signal
from collections.abc import Iterator

import pytest

from musicgen_core.config.data import CodecSpec


@pytest.fixture
def codec_spec() -> CodecSpec:
    """A codec that exists only by name, for tests that need no audio."""
    return CodecSpec(
        name="made_up", digest="0" * 32, sample_rate_hz=16000, num_channels=1, num_codebooks=4, card=64, hop_samples=320
    )


@pytest.fixture(autouse=True, scope="session")
def keyboard() -> Iterator[None]:
    """A suite started in the background inherits an ignored Ctrl-C, and so would the processes that tests interrupt."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)
