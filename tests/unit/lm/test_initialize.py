"""The rules of the MusicGen reference, section 3.3, measured at width 512."""

import math

import pytest
import torch
from small_models import make_model

from musicgen_core.lm.initialize import initialize

CUT = 0.98658  # standard deviation of a unit normal cut at 3 sigma
DIM = 512


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return make_model(dim=DIM, num_heads=8, num_layers=6).state_dict()


@pytest.mark.parametrize("layer", [0, 5])
@pytest.mark.parametrize(
    ("name", "fan_in"),
    [("self_attn.out_proj", DIM), ("cross_attention.out_proj", DIM), ("linear1", DIM), ("linear2", 4 * DIM)],
)
def test_depth_scales_branches(state: dict[str, torch.Tensor], layer: int, name: str, fan_in: int) -> None:
    weight = state[f"transformer.layers.{layer}.{name}.weight"]
    sigma = 1 / math.sqrt(fan_in) / math.sqrt(2 * (layer + 1))
    assert weight.std().item() == pytest.approx(CUT * sigma, rel=0.01)
    assert weight.abs().max().item() <= 3 * sigma


@pytest.mark.parametrize("name", ["emb.0", "linears.3"])
def test_embeddings_and_heads(state: dict[str, torch.Tensor], name: str) -> None:
    assert state[f"{name}.weight"].std().item() == pytest.approx(0.0436, rel=0.02)


@pytest.mark.parametrize("name", ["self_attn", "cross_attention"])
def test_fused_projections_keep_the_linear_default(state: dict[str, torch.Tensor], name: str) -> None:
    for layer in (0, 5):
        weight = state[f"transformer.layers.{layer}.{name}.in_proj_weight"]
        assert weight.std().item() == pytest.approx(0.0255, rel=0.01)
        assert weight.abs().max().item() <= 1 / math.sqrt(DIM)


def test_norms_and_conditioner(state: dict[str, torch.Tensor]) -> None:
    assert state["out_norm.weight"].eq(1).all()
    assert state["transformer.layers.2.norm_cross.bias"].eq(0).all()
    description = "condition_provider.conditioners.description"
    assert state[f"{description}.embed.weight"].std().item() == pytest.approx(1, rel=0.1)
    for part in ("weight", "bias"):
        values = state[f"{description}.output_proj.{part}"]
        assert values.std().item() == pytest.approx(1 / math.sqrt(3 * 16), rel=0.1)


def test_a_pure_function_of_the_seed() -> None:
    one, other = make_model(seed=7), make_model(seed=8)
    torch.manual_seed(123)
    again = make_model(seed=1)
    before = torch.get_rng_state()
    initialize(again, 7)
    assert torch.equal(torch.get_rng_state(), before)
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
        if "norm" not in name:
            assert not torch.equal(weight, other.state_dict()[name]), name


def test_a_layer_does_not_depend_on_how_many_there_are() -> None:
    shallow, deep = make_model(num_layers=1).state_dict(), make_model(num_layers=3).state_dict()
    assert all(torch.equal(weight, deep[name]) for name, weight in shallow.items())
