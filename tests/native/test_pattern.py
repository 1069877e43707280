"""The delay pattern against the worked tables of the reference (section 2.3) and as a property."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from musicgen_core import native

S = 99
TABLES = {
    "delay, full": (
        [0, 1, 2, 3],
        False,
        ["S 0 1 2 3 4 S S S", "S S 0 1 2 3 4 S S", "S S S 0 1 2 3 4 S", "S S S S 0 1 2 3 4"],
    ),
    "delay, valid": ([0, 1, 2, 3], True, ["S 0 1 2 3 4", "S S 0 1 2 3", "S S S 0 1 2", "S S S S 0 1"]),
    "parallel": ([0, 0, 0, 0], True, ["S 0 1 2 3 4"] * 4),
    "stereo, full": (
        [0, 0, 1, 1, 2, 2, 3, 3],
        False,
        ["S 0 1 2 3 4 S S S"] * 2 + ["S S 0 1 2 3 4 S S"] * 2 + ["S S S 0 1 2 3 4 S"] * 2 + ["S S S S 0 1 2 3 4"] * 2,
    ),
    "stereo, valid": (
        [0, 0, 1, 1, 2, 2, 3, 3],
        True,
        ["S 0 1 2 3 4"] * 2 + ["S S 0 1 2 3"] * 2 + ["S S S 0 1 2"] * 2 + ["S S S S 0 1"] * 2,
    ),
}
DTYPES = [np.uint16, np.int16, np.int64]


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_worked_tables(name, dtype):
    delays, keep_only_valid, rows = TABLES[name]
    codes_BKT = np.tile(np.arange(5, dtype=dtype), (2, len(delays), 1))
    expected = np.array([[S if cell == "S" else int(cell) for cell in row.split()] for row in rows])
    sequence_BKS, mask_KS = native.interleave(codes_BKT, delays, S, keep_only_valid)
    assert sequence_BKS.dtype == dtype
    np.testing.assert_array_equal(sequence_BKS, np.stack([expected, expected]))
    np.testing.assert_array_equal(mask_KS, expected != S)


def test_valid_masks_of_the_inverse():
    codes_BKT = np.arange(20, dtype=np.uint16).reshape(1, 4, 5)
    sequence_BKS, _ = native.interleave(codes_BKT, [0, 1, 2, 3], S)
    back_BKT, mask_KT = native.deinterleave(sequence_BKS, [0, 1, 2, 3], 5, S)
    assert ["".join(str(int(m)) for m in row) for row in mask_KT] == ["11111", "11110", "11100", "11000"]
    np.testing.assert_array_equal(back_BKT, np.where(mask_KT, codes_BKT, S))


def naive(codes_BKT, delays, special, num_steps):
    """The definition, one cell at a time."""
    B, K, T = codes_BKT.shape
    sequence = np.full((B, K, num_steps), special, codes_BKT.dtype)
    for k, delay in enumerate(delays):
        for t in range(T):
            if 1 + delay + t < num_steps:
                sequence[:, k, 1 + delay + t] = codes_BKT[:, k, t]
    return sequence


@given(st.data())
def test_inverse_gives_back_what_went_in(data):
    dtype = data.draw(st.sampled_from(DTYPES))
    K, T, B = data.draw(st.integers(1, 16)), data.draw(st.integers(0, 40)), data.draw(st.integers(0, 3))
    delays = sorted(data.draw(st.lists(st.integers(0, 20), min_size=K, max_size=K)))
    codes_BKT = data.draw(arrays.arrays(dtype, (B, K, T), elements=st.integers(0, 2047)))
    full, mask_KS = native.interleave(codes_BKT, delays, 2048, keep_only_valid=False)
    np.testing.assert_array_equal(full, naive(codes_BKT, delays, 2048, T + max(delays) + 1))
    assert mask_KS.sum() == K * T
    back, mask_KT = native.deinterleave(full, delays, T, 2048)
    np.testing.assert_array_equal(back, codes_BKT)
    assert mask_KT.all()
    valid, _ = native.interleave(codes_BKT, delays, 2048)
    np.testing.assert_array_equal(valid, full[:, :, : T + min(delays) + 1])
    longer, mask_KT = native.deinterleave(full, delays, T + 50, 2048)
    np.testing.assert_array_equal(longer[:, :, :T], codes_BKT)
    assert (longer[:, ~mask_KT] == 2048).all()


def test_refusals():
    codes = np.zeros((1, 4, 5), np.uint16)
    for delays, message in [([0, 1], "2 delays for 4"), ([0, 2, 1, 3], "ascending"), ([-1, 0, 0, 0], "not negative")]:
        with pytest.raises(ValueError, match=message):
            native.interleave(codes, delays, 2048)
    with pytest.raises(ValueError, match="65536 does not fit"):
        native.interleave(codes, [0, 1, 2, 3], 65_536)
    with pytest.raises(ValueError, match="float32"):
        native.interleave(codes.astype(np.float32), [0, 1, 2, 3], 2048)
    with pytest.raises(ValueError, match="three axes"):
        native.interleave(codes[0], [0, 1, 2, 3], 2048)
    with pytest.raises(ValueError, match="num_frames is -1"):
        native.deinterleave(codes, [0, 1, 2, 3], -1, 2048)


def test_views_are_understood():
    codes = np.arange(40, dtype=np.int64).reshape(2, 5, 4).transpose(0, 2, 1)
    np.testing.assert_array_equal(
        native.interleave(codes, [0, 1, 2, 3], S)[0], native.interleave(codes.copy(), [0, 1, 2, 3], S)[0]
    )
