import math

import pytest
import torch
from token_corpus import SPEC, tiny_config

from musicgen_core.config.training import TrainingConfig
from musicgen_core.lm.model import build_model
from musicgen_core.train.optim import build_optimizer
from musicgen_core.train.schedule import learning_rate


def test_learning_rate_at_its_corners() -> None:
    config = TrainingConfig(steps=100, warmup_steps=20, learning_rate=2.0, lr_min_ratio=0.1)
    assert learning_rate(0, config) == pytest.approx(2.0 / 20)
    assert learning_rate(19, config) == 2.0
    assert learning_rate(20, config) == 2.0
    assert learning_rate(60, config) == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))
    assert learning_rate(99, config) == pytest.approx(2.0 * (0.1 + 0.45 * (1 + math.cos(math.pi * 79 / 80))))
    assert learning_rate(100, config) == pytest.approx(0.2)
    assert learning_rate(101, config) == pytest.approx(0.2)


@pytest.mark.parametrize(("warmup", "steps"), [(10, 10), (50, 10), (0, 1), (1, 1), (0, 10)])
def test_learning_rate_of_odd_lengths_is_finite_and_moves_at_once(warmup: int, steps: int) -> None:
    config = TrainingConfig(steps=steps, warmup_steps=warmup, learning_rate=1.0)
    rates = [learning_rate(step, config) for step in range(steps)]
    assert rates[0] > 0
    assert all(0 <= rate <= 1 for rate in rates)


def test_only_matrices_are_decayed() -> None:
    config = tiny_config()
    model = build_model(config.model, config.conditioner, SPEC)
    decayed, kept = build_optimizer(model, config.training).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    assert decayed["weight_decay"] == 0.1
    assert kept["weight_decay"] == 0.0
    decayed_names = {names[id(p)] for p in decayed["params"]}
    kept_names = {names[id(p)] for p in kept["params"]}
    assert "transformer.layers.0.linear1.weight" in decayed_names
    assert "linears.0.weight" in decayed_names
    assert {"emb.0.weight", "out_norm.weight", "out_norm.bias"} <= kept_names
    assert "condition_provider.conditioners.description.embed.weight" in kept_names
    assert len(decayed_names) + len(kept_names) == len(list(model.parameters()))
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert isinstance(decayed["params"][0], torch.nn.Parameter)
