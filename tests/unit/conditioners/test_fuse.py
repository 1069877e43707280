import pytest
import torch
from torch.nn import functional

from musicgen_core.conditioners.base import Condition
from musicgen_core.conditioners.fuse import fuse, stretch_index


def make_condition(length: int, value: float = 1.0, batch: int = 2, dim: int = 4) -> Condition:
    return Condition(torch.full((batch, length, dim), value), torch.ones(batch, length, dtype=torch.bool))


@pytest.mark.parametrize(("num_steps", "length"), [(7, 3), (3, 7), (5, 5), (10, 1), (1501, 235)])
def test_stretching_is_torchs_nearest(num_steps: int, length: int) -> None:
    values = torch.arange(length, dtype=torch.float32)[None, None]
    expected = functional.interpolate(values, num_steps, mode="nearest")[0, 0]
    index = stretch_index(0, num_steps, num_steps, length, torch.device("cpu"))
    assert torch.equal(values[0, 0, index], expected)
    pieces = [stretch_index(s, 1, num_steps, length, torch.device("cpu")) for s in range(num_steps)]
    assert torch.equal(torch.cat(pieces), index)
    assert stretch_index(num_steps + 5, 1, num_steps, length, torch.device("cpu")).item() == index[-1]


def test_each_fusion_goes_where_it_says() -> None:
    conditions = {
        "a": make_condition(2, 1.0),
        "b": make_condition(3, 2.0),
        "c": make_condition(1, 3.0),
        "d": make_condition(5, 4.0),
        "e": make_condition(1, 5.0),
        "f": make_condition(2, 6.0),
    }
    fused = fuse(
        conditions,
        {"a": "prepend", "b": "cross", "c": "sum", "d": "input_interpolate", "e": "prepend", "f": "cross"},
    )
    assert fused.source is not None
    assert fused.source.embeddings_BLD[0, :, 0].tolist() == [2, 2, 2, 6, 6]
    assert fused.source.mask_BL.shape == (2, 5)
    assert fused.num_prefix == 3
    x = torch.zeros(2, 4, 4)
    entered = fused.enter(x, 0, 4)
    assert entered[0, :, 0].tolist() == [5, 1, 1, 7, 7, 7, 7], "the last prepended stands in front"
    assert fused.enter(x[:, :1], 2, 4).shape == (2, 1, 4), "later steps get no prefix"


def test_a_sum_of_several_positions_is_their_sum() -> None:
    fused = fuse({"a": make_condition(3, 2.0)}, {"a": "sum"})
    assert fused.added_B1D is not None
    assert fused.added_B1D.shape == (2, 1, 4)
    assert fused.added_B1D.eq(6).all()


def test_nothing_is_nothing() -> None:
    fused = fuse({}, {})
    assert fused.source is None
    x = torch.randn(1, 2, 4)
    assert fused.enter(x, 0, 2) is x
