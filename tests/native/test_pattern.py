"""Patterns in the extension: worked tables, against the definition, as a property, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pattern_strategies import patterns
from slow_patterns import slow_interleave, slow_layout

from musicgen_core import native
from musicgen_core.patterns.layout import build_pattern

S = 99
DTYPES = [np.uint16, np.int16, np.int64]
DELAY = np.array([0, 1, 2, 3])[:, None] + np.arange(1, 6)
UNROLLED = np.arange(1, 5)[:, None] + np.arange(0, 20, 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("step_KT", "num_steps", "rows"),
    [
        (DELAY, 9, ["S 0 1 2 3 4 S S S", "S S 0 1 2 3 4 S S", "S S S 0 1 2 3 4 S", "S S S S 0 1 2 3 4"]),
        (DELAY, 6, ["S 0 1 2 3 4", "S S 0 1 2 3", "S S S 0 1 2", "S S S S 0 1"]),
        (UNROLLED, 10, ["S 0 S S S 1 S S S 2", "S S 0 S S S 1 S S S", "S S S 0 S S S 1 S S", "S S S S 0 S S S 1 S"]),
    ],
)
def test_worked_tables(dtype, step_KT, num_steps, rows):
    codes_BKT = np.tile(np.arange(5, dtype=dtype), (2, 4, 1))
    expected = np.array([[S if cell == "S" else int(cell) for cell in row.split()] for row in rows])
    sequence_BKS, mask_KS = native.interleave(codes_BKT, step_KT, num_steps, S)
    assert sequence_BKS.dtype == dtype
    np.testing.assert_array_equal(sequence_BKS, np.stack([expected, expected]))
    np.testing.assert_array_equal(mask_KS, expected != S)


def test_valid_masks_of_the_inverse():
    codes_BKT = np.arange(20, dtype=np.uint16).reshape(1, 4, 5)
    sequence_BKS, _ = native.interleave(codes_BKT, DELAY, 6, S)
    back_BKT, mask_KT = native.deinterleave(sequence_BKS, DELAY, S)
    assert ["".join(str(int(m)) for m in row) for row in mask_KT] == ["11111", "11110", "11100", "11000"]
    np.testing.assert_array_equal(back_BKT, np.where(mask_KT, codes_BKT, S))


@given(st.data())
def test_inverse_gives_back_what_went_in(data):
    config, K = data.draw(patterns())
    T, B, dtype = data.draw(st.integers(1, 40)), data.draw(st.integers(0, 3)), data.draw(st.sampled_from(DTYPES))
    pattern, steps = build_pattern(config, K, T), slow_layout(config, K, T)
    codes_BKT = data.draw(arrays.arrays(dtype, (B, K, T), elements=st.integers(0, 2047)))
    full, mask_KS = native.interleave(codes_BKT, pattern.step_KT, pattern.num_steps, 2048)
    expected, expected_mask = slow_interleave(codes_BKT, steps, pattern.num_steps, 2048)
    np.testing.assert_array_equal(full, expected)
    np.testing.assert_array_equal(mask_KS, expected_mask)
    assert full.dtype == dtype
    back, mask_KT = native.deinterleave(full, pattern.step_KT, 2048)
    np.testing.assert_array_equal(back, codes_BKT)
    assert back.dtype == dtype
    assert mask_KT.all()
    valid, mask_KS = native.interleave(codes_BKT, pattern.step_KT, pattern.num_valid_steps, 2048)
    np.testing.assert_array_equal(valid, full[:, :, : pattern.num_valid_steps])
    back, mask_KT = native.deinterleave(valid, pattern.step_KT, 2048)
    assert mask_KT.sum() == mask_KS.sum()
    np.testing.assert_array_equal(back, np.where(mask_KT, codes_BKT, 2048))


@given(st.data())
def test_any_ascending_table_and_any_length(data):
    K, T, B = data.draw(st.integers(1, 16)), data.draw(st.integers(0, 12)), data.draw(st.integers(0, 2))
    gaps = data.draw(arrays.arrays(np.int64, (K, T), elements=st.integers(1, 3)))
    step_KT, num_steps = np.cumsum(gaps, axis=1), data.draw(st.integers(0, 45))
    steps = [[(t, k) for k in range(K) for t in range(T) if step_KT[k, t] == s] for s in range(num_steps)]
    codes_BKT = np.random.default_rng(0).integers(0, 2048, (B, K, T), dtype=np.uint16)
    sequence, mask_KS = native.interleave(codes_BKT, step_KT, num_steps, 2048)
    expected, expected_mask = slow_interleave(codes_BKT, steps, num_steps, 2048)
    np.testing.assert_array_equal(sequence, expected)
    np.testing.assert_array_equal(mask_KS, expected_mask)
    back, mask_KT = native.deinterleave(sequence, step_KT, 2048)
    np.testing.assert_array_equal(mask_KT, step_KT < num_steps)
    np.testing.assert_array_equal(back, np.where(mask_KT, codes_BKT, 2048))


def test_refusals():
    codes = np.zeros((1, 4, 5), np.uint16)
    tables = [
        (DELAY[:2], "4 codebooks of 5 frames, step_KT 2 of 5"),
        (DELAY[:, :3], "4 codebooks of 5 frames, step_KT 4 of 3"),
        (DELAY - 1, r"codebook 0 \(0 to 4\) must ascend and lie in 1\.\."),
        (DELAY[:, ::-1], r"codebook 0 \(5 to 1\) must ascend"),
        (np.where(DELAY == 4, 3, DELAY), r"codebook 0 \(1 to 5\) must ascend"),
        (DELAY + (1 << 31), "must ascend and lie in"),
        (DELAY.astype(np.int32), r"step_KT must be int64 with two axes, got int32 \(4, 5\)"),
        (DELAY[0], r"got int64 \(5,\)"),
    ]
    for table, message in tables:
        with pytest.raises(ValueError, match=message):
            native.interleave(codes, table, 9, 2048)
    with pytest.raises(ValueError, match="65536 does not fit the u16 codes"):
        native.interleave(codes, DELAY, 9, 65_536)
    with pytest.raises(ValueError, match="codes_BKT must be uint16, int16 or int64 with three axes, got float32"):
        native.interleave(codes.astype(np.float32), DELAY, 9, 2048)
    with pytest.raises(ValueError, match="three axes"):
        native.interleave(codes[0], DELAY, 9, 2048)
    with pytest.raises(ValueError, match="num_steps is -1"):
        native.interleave(codes, DELAY, -1, 2048)
    with pytest.raises(ValueError, match="1 x 4 x 4294967296 codes are too many"):
        native.interleave(codes, DELAY, 1 << 32, 2048)
    with pytest.raises(ValueError, match="sequence_BKS has 4 codebooks, step_KT 3"):
        native.deinterleave(codes, DELAY[:3], 2048)
    with pytest.raises(ValueError, match="0 codebooks"):
        native.deinterleave(codes[:, :0], DELAY[:0], 2048)


def test_views_are_understood():
    codes = np.arange(40, dtype=np.int64).reshape(2, 5, 4).transpose(0, 2, 1)
    np.testing.assert_array_equal(
        native.interleave(codes, DELAY, 9, S)[0], native.interleave(codes.copy(), DELAY, 9, S)[0]
    )
    np.testing.assert_array_equal(
        native.deinterleave(codes, np.asfortranarray(DELAY), S)[0], native.deinterleave(codes, DELAY, S)[0]
    )
