"""NaN becomes one clear error, never codes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import CODEC, CONDITIONER, make_model

from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.lm import finite
from musicgen_core.lm.finite import FiniteLogits
from musicgen_core.lm.generate import generate
from musicgen_core.lm.sampling import sample_codes
from musicgen_core.lm.weights import load_export, write_export
from musicgen_core.util.fit import find_non_finite

WAYS = [
    GenerationConfig(temperature=0),
    GenerationConfig(seed=1),
    GenerationConfig(seed=1, top_k=0),
    GenerationConfig(seed=1, top_p=0.9),
]


@pytest.mark.parametrize("config", WAYS)
def test_bad_weights_are_named_in_the_first_step(config: GenerationConfig) -> None:
    model = make_model()
    with torch.no_grad():
        model.out_norm.weight[3] = float("nan")
    with pytest.raises(ValueError, match=r"step 1 of the generation: .* weights out_norm.weight. Remedy: take an earl"):
        generate(model, ["rock"], 5, config)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_later_step_is_named(bad: float) -> None:
    model = make_model()
    steps = []

    def spoil(step: int, total: int) -> None:
        steps.append(step)
        if step == 3:
            with torch.no_grad():
                model.out_norm.bias.fill_(bad)

    with pytest.raises(ValueError, match="step 4 of the generation"):
        generate(model, ["rock"], 5, GenerationConfig(temperature=0), spoil)
    assert steps == [1, 2, 3]


def test_conditions_may_be_the_cause() -> None:
    flags = FiniteLogits(make_model())
    flags.watch(torch.zeros(1, 4, 8).index_fill(2, torch.tensor([3]), -torch.inf), 1)
    with pytest.raises(ValueError, match=r"step 2 .*all weights are finite. Remedy: look for NaN in the conditions"):
        flags.watch(torch.full((1, 4, 8), torch.nan), 2)


def test_steps_that_wait_are_judged_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where the first of them is found later."""
    flags = FiniteLogits(make_model())
    settle = flags.settle
    monkeypatch.setattr(flags, "settle", lambda: None)
    for step in range(1, 6):
        flags.watch(torch.full((1, 4, 8), torch.nan if step > 2 else 0.0), step)
    with pytest.raises(ValueError, match="step 3 of"):
        settle()
    settle()
    assert finite.EVERY_STEPS > 1


@pytest.mark.parametrize("config", WAYS)
def test_sampling_stays_in_range_whatever_the_logits(config: GenerationConfig) -> None:
    """An index out of range would end a GPU's process."""
    codes = sample_codes(torch.full((2, 4, 8), torch.nan), torch.full((2, 4), 0.7), config)
    assert codes.ge(0).all()
    assert codes.lt(8).all()


def test_an_export_with_bad_weights_is_refused_by_name(tmp_path: Path) -> None:
    write_export(tmp_path, make_model(), CONDITIONER, CODEC, {})
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    for name, bad in (("emb.1.weight", torch.nan), ("linears.2.weight", torch.inf)):
        state[name][0, 0] = bad
    save_file(state, path)
    with pytest.raises(ValueError, match=r"model.safetensors: weights with NaN or infinity: emb.1.weight, linears.2.w"):
        load_export(tmp_path)


def test_every_kind_of_tensor_may_be_looked_at() -> None:
    good = {
        "empty": torch.zeros(0),
        "whole": torch.arange(3),
        "half": torch.ones(2, dtype=torch.float16),
        "brain": torch.ones(2, dtype=torch.bfloat16),
        "meta": torch.zeros(2, device="meta"),
    }
    assert find_non_finite(good) == []
    assert find_non_finite({**good, "bad": torch.tensor([1.0, -torch.inf], dtype=torch.float16)}) == ["bad"]
