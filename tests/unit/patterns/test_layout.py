"""The worked tables of the MusicGen reference (section 2.3), K = 4, T = 5."""

import numpy as np
import pytest
import torch
from torch import Tensor

from musicgen_core.patterns.apply import align_logits, deinterleave, interleave
from musicgen_core.patterns.layout import check_delays, delay_pattern

S = -1

MONO_FULL = [
    [S, 0, 1, 2, 3, 4, S, S, S],
    [S, S, 0, 1, 2, 3, 4, S, S],
    [S, S, S, 0, 1, 2, 3, 4, S],
    [S, S, S, S, 0, 1, 2, 3, 4],
]
MONO_VALID = [[S, 0, 1, 2, 3, 4], [S, S, 0, 1, 2, 3], [S, S, S, 0, 1, 2], [S, S, S, S, 0, 1]]
MONO_LOGIT_STEP = [[0, 1, 2, 3, 4], [1, 2, 3, 4, S], [2, 3, 4, S, S], [3, 4, S, S, S]]


def paired(rows: list[list[int]]) -> list[list[int]]:
    return [row for row in rows for _ in range(2)]


@pytest.mark.parametrize(
    ("delays", "full", "valid"),
    [
        ((0, 1, 2, 3), MONO_FULL, MONO_VALID),
        ((0, 0, 1, 1, 2, 2, 3, 3), paired(MONO_FULL), paired(MONO_VALID)),
        ((0, 0, 0, 0), [[S, 0, 1, 2, 3, 4]] * 4, [[S, 0, 1, 2, 3, 4]] * 4),
    ],
)
def test_steps_hold_the_frames_of_the_worked_tables(
    delays: tuple[int, ...], full: list[list[int]], valid: list[list[int]]
) -> None:
    pattern = delay_pattern(5, delays)
    assert pattern.frame_KS(keep_only_valid=False).tolist() == full
    assert pattern.frame_KS(keep_only_valid=True).tolist() == valid


@pytest.mark.parametrize(
    ("delays", "full", "valid"),
    [((0, 1, 2, 3), 1504, 1501), ((0, 0, 1, 1, 2, 2, 3, 3), 1504, 1501), (tuple(range(9)), 1509, 1501)],
)
def test_lengths_at_30_seconds(delays: tuple[int, ...], full: int, valid: int) -> None:
    pattern = delay_pattern(1500, delays)
    assert (pattern.length(False), pattern.length(True)) == (full, valid)


def numbered_logits(num_codebooks: int, num_steps: int) -> Tensor:
    """Logits whose value is their step."""
    return torch.arange(num_steps, dtype=torch.float32)[None, None, :, None].expand(2, num_codebooks, num_steps, 3)


def test_each_code_gets_the_logits_of_the_step_before_it() -> None:
    aligned, mask_KT = align_logits(numbered_logits(4, 6), delay_pattern(5, (0, 1, 2, 3)))
    assert aligned.shape == (2, 4, 5, 3)
    assert mask_KT.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]
    assert aligned[1, :, :, 2].nan_to_num(S).tolist() == MONO_LOGIT_STEP
    assert aligned[:, ~mask_KT].isnan().all()
    full, mask_KT = align_logits(numbered_logits(4, 9), delay_pattern(5, (0, 1, 2, 3)))
    assert mask_KT.all()
    assert full[0, 3, :, 0].tolist() == [3, 4, 5, 6, 7]


def test_no_gradient_reaches_the_last_training_step() -> None:
    logits = torch.randn(1, 4, 6, 3, requires_grad=True)
    aligned, mask_KT = align_logits(logits, delay_pattern(5, (0, 1, 2, 3)))
    aligned[:, mask_KT].sum().backward()
    assert logits.grad is not None
    assert logits.grad[:, :, 5].eq(0).all()
    assert logits.grad[:, 0, :5].eq(1).all()


@pytest.mark.parametrize("keep_only_valid", [False, True])
def test_codes_survive_the_way_there_and_back(keep_only_valid: bool) -> None:
    codes = torch.randint(0, 16, (3, 4, 7), generator=torch.Generator().manual_seed(0))
    pattern = delay_pattern(7, (0, 1, 2, 3))
    sequence, mask_KS = interleave(codes, pattern, 16, keep_only_valid)
    assert sequence[:, ~mask_KS].eq(16).all()
    assert sequence[:, mask_KS].lt(16).all()
    back, mask_KT = deinterleave(sequence, pattern, 16)
    assert torch.equal(back[:, mask_KT], codes[:, mask_KT])
    assert back[:, ~mask_KT].eq(16).all()
    assert mask_KT.sum().item() == (28 - 6 if keep_only_valid else 28)


@pytest.mark.parametrize("delays", [(0, 1, 2, 3), (0, 0, 1, 1), (1, 1, 2, 5)])
@pytest.mark.parametrize("num_frames", [1, 3, 20])
@pytest.mark.parametrize("keep_only_valid", [False, True])
def test_equals_the_native_kernel(delays: tuple[int, ...], num_frames: int, keep_only_valid: bool) -> None:
    from musicgen_core import native

    codes = np.random.default_rng(0).integers(0, 100, (2, len(delays), num_frames))
    expected, expected_mask = native.interleave(codes, delays, 100, keep_only_valid)
    pattern = delay_pattern(num_frames, delays)
    sequence, mask_KS = interleave(torch.from_numpy(codes), pattern, 100, keep_only_valid)
    np.testing.assert_array_equal(sequence, expected)
    np.testing.assert_array_equal(mask_KS, expected_mask)
    back, mask_KT = deinterleave(sequence, pattern, 100)
    expected_back, expected_mask = native.deinterleave(expected, delays, num_frames, 100)
    np.testing.assert_array_equal(back, expected_back)
    np.testing.assert_array_equal(mask_KT, expected_mask)


@pytest.mark.parametrize(
    ("delays", "num_codebooks", "message"),
    [((0, 1), 4, "2 delays for 4 codebooks"), ((0, 2, 1), 3, r"\[0, 2, 1\]"), ((-1, 0), 2, r"\[-1, 0\]")],
)
def test_bad_delays_are_named(delays: tuple[int, ...], num_codebooks: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_delays(delays, num_codebooks)


def test_no_frames_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1 frame, got 0"):
        delay_pattern(0, (0, 1))
