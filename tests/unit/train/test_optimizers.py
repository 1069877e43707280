"""Every optimizer against a slow one in numpy, and a run of each that is cut and resumed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slow_optimizers
import torch
from slow_optimizers import Arrays
from token_corpus import SPEC, tiny_config
from torch import nn

from musicgen_core.config.optimization import (
    AdamWConfig,
    DAdaptAdamConfig,
    LionConfig,
    MuonConfig,
    OptimizerConfig,
)
from musicgen_core.config.training import TrainingConfig
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import build_model
from musicgen_core.train.muon import orthogonalize
from musicgen_core.train.optim import build_optimizer, effective_rate, list_warnings

Train = Callable[..., list[dict[str, Any]]]

LION = LionConfig(kind="lion")
DADAPT = DAdaptAdamConfig(kind="dadapt_adam")
MUON = MuonConfig(kind="muon")
OPTIMIZERS: list[tuple[OptimizerConfig, float]] = [(LION, 3e-4), (DADAPT, 1.0), (MUON, 3e-3)]
NUM_STEPS = 6


class Small(nn.Module):
    """Something of every kind: an embedding, a matrix outside the layers, norms, and the layers' matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(5, 4)
        self.linears = nn.Linear(4, 3)
        self.transformer = nn.ModuleDict({"layers": nn.ModuleList([nn.Module()])})
        layer = self.transformer["layers"][0]
        layer.in_proj_weight = nn.Parameter(torch.zeros(12, 4))
        layer.linear1 = nn.Linear(4, 16, bias=False)
        layer.norm1 = nn.LayerNorm(4)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))


def make_steps(model: nn.Module) -> list[Arrays]:
    """Gradients that agree more or less, so that a step size has a reason to grow."""
    random = np.random.default_rng(2)
    drift = [random.normal(size=tuple(p.shape)) for p in model.parameters()]
    return [[0.1 * g + 0.03 * random.normal(size=g.shape) for g in drift] for _ in range(NUM_STEPS)]


def take_steps(model: nn.Module, optimizer: torch.optim.Optimizer, steps: list[Arrays]) -> None:
    for step in steps:
        for parameter, gradient in zip(model.parameters(), step, strict=True):
            parameter.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()


def prepare(config: TrainingConfig) -> tuple[nn.Module, torch.optim.Optimizer, Arrays, list[Arrays], list[float]]:
    model = Small()
    plain = {"emb.weight", "linears.bias", "transformer.layers.0.norm1.weight", "transformer.layers.0.norm1.bias"}
    decays = [0.0 if name in plain else config.weight_decay for name, _ in model.named_parameters()]
    weights = [p.detach().double().numpy().copy() for p in model.parameters()]
    return model, build_optimizer(model, config), weights, make_steps(model), decays


def assert_close(model: nn.Module, expected: Arrays, atol: float = 2e-6) -> None:
    for (name, parameter), value in zip(model.named_parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), value, atol=atol, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(("kind", "slow"), [(AdamWConfig(), slow_optimizers.adamw), (LION, slow_optimizers.lion)])
def test_adamw_and_lion_equal_the_slow_ones(kind: OptimizerConfig, slow: Callable[..., Arrays]) -> None:
    config = TrainingConfig(optimizer=kind, learning_rate=0.02, weight_decay=0.3, betas=(0.8, 0.9))
    model, optimizer, weights, steps, decays = prepare(config)
    take_steps(model, optimizer, steps)
    assert_close(model, slow(weights, steps, decays, config))


@pytest.mark.parametrize("growth_rate", [None, 1.5])
def test_d_adaptation_equals_the_slow_one(growth_rate: float | None) -> None:
    kind = DAdaptAdamConfig(kind="dadapt_adam", initial_d=1e-3, growth_rate=growth_rate)
    config = TrainingConfig(optimizer=kind, learning_rate=1.0, weight_decay=0.3, betas=(0.8, 0.9))
    model, optimizer, weights, steps, decays = prepare(config)
    expected, d = slow_optimizers.dadapt_adam(weights, steps, decays, config)
    take_steps(model, optimizer, steps)
    assert_close(model, expected)
    assert d > 1.4e-3, "the case must let the step size grow"
    assert effective_rate(optimizer) == pytest.approx(d, rel=1e-5)
    assert {group["d"] for group in optimizer.param_groups} == {optimizer.param_groups[0]["d"]}


def test_d_adaptation_stays_put_without_gradients_or_rate() -> None:
    model, optimizer, _, steps, _ = prepare(TrainingConfig(optimizer=DADAPT, learning_rate=1.0))
    take_steps(model, optimizer, [[np.zeros_like(g) for g in steps[0]]])
    assert effective_rate(optimizer) == 1e-6
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    take_steps(model, optimizer, steps)
    assert optimizer.param_groups[0]["d"] == 1e-6


def test_muon_equals_the_slow_one_and_adamw_takes_the_rest() -> None:
    config = TrainingConfig(optimizer=MUON, learning_rate=0.02, weight_decay=0.3)
    model, optimizer, weights, steps, decays = prepare(config)
    expected = slow_optimizers.adamw(weights, steps, decays, config)
    for index, (name, _) in enumerate(model.named_parameters()):
        if name.endswith(("in_proj_weight", "linear1.weight")):
            parts = 3 if name.endswith("in_proj_weight") else 1
            column = [step[index] for step in steps]
            expected[index] = slow_optimizers.muon(weights[index], column, parts, decays[index], config)
    take_steps(model, optimizer, steps)
    assert_close(model, expected, atol=2e-5)


def test_muon_agrees_with_torchs_own_on_one_matrix() -> None:
    """torch iterates in bfloat16: its update is near, and no nearer."""
    torch.manual_seed(0)
    ours, theirs = nn.Linear(8, 24, bias=False), nn.Linear(8, 24, bias=False)
    theirs.load_state_dict(ours.state_dict())
    holder = nn.ModuleDict({"transformer": nn.ModuleDict({"layers": nn.ModuleList([ours])})})
    config = TrainingConfig(optimizer=MUON, learning_rate=0.1, weight_decay=0.1)
    optimizer = build_optimizer(holder, config)
    reference = torch.optim.Muon(theirs.parameters(), lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        gradient = torch.randn(24, 8)
        ours.weight.grad, theirs.weight.grad = gradient.clone(), gradient.clone()
        before = ours.weight.detach().clone()
        optimizer.step()
        reference.step()
        moved = (ours.weight - before).norm()
        assert (ours.weight - theirs.weight).norm() < 0.05 * moved


@pytest.mark.parametrize("shape", [(6, 6), (4, 20), (20, 4), (1, 7)])
def test_orthogonalized_matrices_are_nearly_orthogonal(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(shape, generator=generator), 5))
    assert values.min() > 0.3
    assert values.max() < 1.3
    assert torch.equal(orthogonalize(torch.zeros(shape), 5), torch.zeros(shape))


def test_muon_takes_the_matrices_of_the_layers_only() -> None:
    config = tiny_config(optimizer=MUON)
    model = build_model(config.model, config.conditioner, SPEC)
    initialize(model, 0)
    names = {id(p): name for name, p in model.named_parameters()}
    found: dict[int, set[str]] = {}
    for group in build_optimizer(model, config.training).param_groups:
        found.setdefault(group["parts"], set()).update(names[id(p)] for p in group["params"])
    assert {name.rpartition(".")[2] for name in found[3]} == {"in_proj_weight"}
    assert {name.split(".", 3)[3] for name in found[1]} == {
        "self_attn.out_proj.weight",
        "cross_attention.out_proj.weight",
        "linear1.weight",
        "linear2.weight",
    }
    assert {"emb.0.weight", "linears.0.weight", "transformer.layers.0.norm1.weight"} <= found[0]
    assert sum(map(len, found.values())) == len(names)


def test_a_learning_rate_that_d_adaptation_cannot_use_is_said() -> None:
    assert list_warnings(TrainingConfig(optimizer=DADAPT, learning_rate=1.0)) == []
    (warning,) = list_warnings(TrainingConfig(optimizer=DADAPT, learning_rate=1e-3))
    assert "training.learning_rate 0.001 is a factor" in warning
    (warning,) = list_warnings(TrainingConfig(steps=10, warmup_steps=10))
    assert "training.warmup_steps 10 >= training.steps 10" in warning


@pytest.mark.parametrize(("kind", "rate"), OPTIMIZERS, ids=lambda value: getattr(value, "kind", ""))
def test_a_cut_run_resumes_bit_for_bit(kind: OptimizerConfig, rate: float, tmp_path: Path, train: Train) -> None:
    config = tiny_config(optimizer=kind, learning_rate=rate, steps=12, checkpoint_every_steps=6)
    whole = train(tmp_path / "whole", config)
    train(tmp_path / "cut", config)
    (tmp_path / "cut/DONE").unlink()
    (tmp_path / "cut/checkpoints/step-00000012/manifest.json").write_text("{")
    assert train(tmp_path / "cut", config) == whole
    losses = [line["loss"] for line in whole if line["kind"] == "train"]
    if kind is not DADAPT:  # it needs some hundred steps to find its size
        assert losses[-1] < losses[0]
