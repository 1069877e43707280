"""Every instruction set gives the bits of the scalar loop. (cargo's tests look around whole tiles as well.)"""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicgen_core import native

TARGETS = ["scalar", "baseline", "avx2", "avx512"]


@pytest.fixture(autouse=True)
def target_is_restored():
    before = native.use_kernel_target("scalar")
    yield
    native.use_kernel_target(before)


def test_targets_are_those_of_the_processor():
    found = native.kernel_targets()
    assert found[:2] == TARGETS[:2]
    assert found == [name for name in TARGETS if name in found]
    if platform.machine() == "x86_64" and Path("/proc/cpuinfo").exists():
        flags = set(Path("/proc/cpuinfo").read_text().split())
        assert ("avx2" in found) == ("avx2" in flags)
        assert ("avx512" in found) == ({"avx512f", "avx512vl"} <= flags)


@pytest.mark.parametrize("name", TARGETS[1:])
@settings(max_examples=40, deadline=None)
@given(
    rates=st.sampled_from(
        [(44_100, 32_000), (48_000, 32_000), (11_025, 24_000), (96_000, 44_100), (1, 7), (47_981, 997)]
    ),
    num_samples=st.integers(1, 20_000),
    preset=st.sampled_from(["julius24", "hq"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_scalar_loop(name, rates, num_samples, preset, seed):
    if name not in native.kernel_targets():
        pytest.skip(f"this processor has no {name}")
    wav_CN = np.random.default_rng(seed).standard_normal((1, num_samples)).astype(np.float32)
    wav_CN *= np.float32(10.0) ** np.random.default_rng(seed).integers(-30, 6, num_samples).astype(np.float32)
    native.use_kernel_target("scalar")
    expected = native.resample(wav_CN, *rates, preset)
    native.use_kernel_target(name)
    assert native.resample(wav_CN, *rates, preset).tobytes() == expected.tobytes()


def test_unknown_target():
    with pytest.raises(ValueError, match='no kernel target "mmx" on this machine; there are scalar, baseline'):
        native.use_kernel_target("mmx")
