import pytest
import torch

from musicgen_core.conditioners.base import Conditioner
from musicgen_core.conditioners.build import build_conditioner
from musicgen_core.config.condition import AttributeConditionConfig, ConditionConfig, NumberConditionConfig


def build(config: ConditionConfig) -> Conditioner:
    torch.manual_seed(0)
    return build_conditioner(config, output_dim=6)


@pytest.fixture
def key() -> Conditioner:
    return build(AttributeConditionConfig(kind="attribute", num_bins=64, dim=8))


@pytest.fixture
def bpm() -> Conditioner:
    return build(NumberConditionConfig(kind="number", low=50, high=200, num_bins=5, dim=8))


def encode(conditioner: Conditioner, *values: object) -> torch.Tensor:
    return conditioner(conditioner.prepare(values)).embeddings_BLD


def test_values_have_vectors_of_their_own(key: Conditioner) -> None:
    a, b, again, listed, nothing, empty = encode(key, "a minor", "c# major", " A Minor", ["a", "minor"], None, " ")
    assert a.shape == (1, 6)
    assert not torch.equal(a, b)
    assert torch.equal(a, again)
    assert torch.equal(a, listed)
    assert nothing.eq(0).all()
    assert empty.eq(0).all()


def test_null_equals_preparing_nothing(key: Conditioner, bpm: Conditioner) -> None:
    for conditioner in (key, bpm):
        null, prepared = conditioner.null(3), conditioner(conditioner.prepare([None] * 3))
        assert torch.equal(null.embeddings_BLD, prepared.embeddings_BLD)
        assert torch.equal(null.mask_BL, prepared.mask_BL)


@torch.no_grad()
def test_numbers_between_two_vectors_are_their_mean(bpm: Conditioner) -> None:
    low, middle, high, beyond, text = encode(bpm, 50, 50 * 2**0.25, 50 * 2**0.5, 10, "50")
    torch.testing.assert_close(middle, (low + high) / 2)
    assert torch.equal(low, beyond)
    assert torch.equal(low, text)
    top, above = encode(bpm, 200, 999)
    assert torch.equal(top, above)
    assert bpm.prepare([200.0]).ids_BL.item() == 3, "the last pair of vectors, at its end"
    assert encode(bpm, None).eq(0).all()


def test_what_is_no_number_is_named(bpm: Conditioner) -> None:
    with pytest.raises(ValueError, match="'fast' is no number"):
        bpm.prepare(["fast"])
    with pytest.raises(ValueError, match="inf is not finite"):
        bpm.prepare([float("inf")])
    with pytest.raises(ValueError, match=r"from 0\.0 to 200\.0 in 5 bins: needs 0 < low < high"):
        build(NumberConditionConfig(kind="number", low=0.0, high=200.0, num_bins=5))
