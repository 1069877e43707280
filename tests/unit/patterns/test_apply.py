"""Codes to the sequence and back on tensors, against the native kernels."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pattern_strategies import patterns

from musicgen_core import native
from musicgen_core.config.pattern import DelayPatternConfig, PatternConfig
from musicgen_core.patterns.apply import deinterleave, interleave
from musicgen_core.patterns.layout import build_pattern

DELAY = DelayPatternConfig(delays=(0, 1, 2, 3))


@pytest.mark.parametrize("keep_only_valid", [False, True])
def test_codes_survive_the_way_there_and_back(keep_only_valid: bool) -> None:
    codes = torch.randint(0, 16, (3, 4, 7), generator=torch.Generator().manual_seed(0))
    pattern = build_pattern(DELAY, 4, 7)
    sequence, mask_KS = interleave(codes, pattern, 16, keep_only_valid)
    assert sequence[:, ~mask_KS].eq(16).all()
    assert sequence[:, mask_KS].lt(16).all()
    back, mask_KT = deinterleave(sequence, pattern, 16)
    assert torch.equal(back[:, mask_KT], codes[:, mask_KT])
    assert back[:, ~mask_KT].eq(16).all()
    assert mask_KT.sum().item() == (28 - 6 if keep_only_valid else 28)


@given(patterns(), st.integers(1, 20), st.booleans())
def test_equals_the_native_kernel(drawn: tuple[PatternConfig, int], num_frames: int, keep_only_valid: bool) -> None:
    config, num_codebooks = drawn
    pattern = build_pattern(config, num_codebooks, num_frames)
    codes = np.random.default_rng(0).integers(0, 100, (2, num_codebooks, num_frames))
    expected, expected_mask = native.interleave(codes, pattern.step_KT, pattern.length(keep_only_valid), 100)
    sequence, mask_KS = interleave(torch.from_numpy(codes), pattern, 100, keep_only_valid)
    np.testing.assert_array_equal(sequence, expected)
    np.testing.assert_array_equal(mask_KS, expected_mask)
    back, mask_KT = deinterleave(sequence, pattern, 100)
    expected_back, expected_mask = native.deinterleave(expected, pattern.step_KT, 100)
    np.testing.assert_array_equal(back, expected_back)
    np.testing.assert_array_equal(mask_KT, expected_mask)
