import pytest
import torch
from torch import nn

from musicgen_core.train.ema import Ema


def test_average_follows_the_formula() -> None:
    model = nn.Linear(2, 1, bias=False)
    ema = Ema(model, decay=0.9)
    expected, count = torch.full((1, 2), torch.nan), 0.0
    for value in (1.0, 4.0, -2.0):
        with torch.no_grad():
            model.weight.fill_(value)
        ema.update()
        count = count * 0.9 + 1
        live = torch.full((1, 2), value)
        expected = live.clone() if count == 1 else expected + (live - expected) / count
        torch.testing.assert_close(ema.state_dict()["weight"], expected)
    assert ema.count == pytest.approx(1 + 0.9 + 0.81)


def test_first_update_copies_the_weights() -> None:
    model = nn.Linear(2, 2)
    ema = Ema(model, decay=0.99)
    with torch.no_grad():
        model.weight.add_(3.0)
    ema.update()
    assert torch.equal(ema.state_dict()["weight"], model.weight)


def test_swap_gives_everything_back_even_after_an_error() -> None:
    model = nn.Linear(3, 3)
    ema = Ema(model, decay=0.5)
    live = model.weight.detach().clone()
    with torch.no_grad():
        ema.state_dict()["weight"].fill_(0.1)
    with pytest.raises(RuntimeError), ema.swapped_in(model):
        assert torch.equal(model.weight, torch.full((3, 3), 0.1))
        raise RuntimeError
    assert torch.equal(model.weight, live)
    assert torch.equal(ema.state_dict()["weight"], torch.full((3, 3), 0.1))


def test_state_that_cannot_be_averaged_is_refused() -> None:
    with pytest.raises(ValueError, match=r"num_batches_tracked is torch.int64"):
        Ema(nn.BatchNorm1d(2), decay=0.5)
