"""The same numbers as AudioCraft's, of the same weights (audiocraft.json, which run_audiocraft.py writes)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from audiocraft_cases import (
    CASES,
    PROBABILITIES,
    SAMPLING,
    WIDE,
    describe_weights,
    learning_rates,
    make_gradients,
    make_weights,
)

from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.optimization import (
    CosineScheduleConfig,
    DAdaptAdamConfig,
    InverseSqrtScheduleConfig,
    PolynomialScheduleConfig,
    ScheduleConfig,
)
from musicgen_core.config.training import TrainingConfig
from musicgen_core.lm.generate import generate
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.sampling import keep_top_k, keep_top_p
from musicgen_core.train.ema import Ema
from musicgen_core.train.optim import build_optimizer
from musicgen_core.train.schedule import learning_rate

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("audiocraft.json").read_text())


def test_every_case_is_there() -> None:
    assert GOLDEN["cases"].keys() == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_logits_losses_and_greedy_codes(name: str) -> None:
    case, expected = CASES[name], GOLDEN["cases"][name]
    model = case.build()
    with torch.no_grad():
        predictions = model.compute_predictions(case.codes(), model.prepare(case.rows))
    codes = generate(model, case.rows, case.num_frames, GenerationConfig(temperature=0, cfg_coef=3.0))
    found = case.describe(predictions.logits_BKTC, predictions.mask_BKT, codes)
    assert found["counts"] == expected["counts"]
    assert found["loss_per_codebook"] == pytest.approx(expected["loss_per_codebook"], abs=1e-5)
    assert found["logits"] == pytest.approx(expected["logits"], abs=1e-4, nan_ok=True)
    assert found["greedy"] == expected["greedy"]


def test_initial_weights_are_drawn_alike() -> None:
    """Other draws, the same law: spread within 2 %, and no value beyond the cut."""
    model = WIDE.build()
    initialize(model, 4)
    found = describe_weights({n: t for n, t in model.state_dict().items() if not n.startswith("condition_provider")})
    assert found.keys() == GOLDEN["initial"].keys()
    for name, (deviation, greatest) in GOLDEN["initial"].items():
        assert found[name][0] == pytest.approx(deviation, rel=0.02), name
        assert found[name][1] == pytest.approx(greatest, rel=0.02), name


@pytest.mark.parametrize("name", SAMPLING)
def test_what_sampling_leaves(name: str) -> None:
    top_k, top_p = SAMPLING[name]
    chances = PROBABILITIES.sort(descending=True).values
    left = keep_top_p(chances, top_p) if top_p > 0 else keep_top_k(chances, top_k)
    assert (left / left.sum()).tolist() == pytest.approx(GOLDEN["sampling"][name], abs=1e-6)
    assert 0 < int((left > 0).sum()) < len(chances)


def test_d_adaptation() -> None:
    kind = DAdaptAdamConfig(kind="dadapt_adam", initial_d=1e-3)
    config = TrainingConfig(optimizer=kind, learning_rate=1.0, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    model = torch.nn.ParameterList([torch.nn.Parameter(weight) for weight in make_weights()])
    optimizer = build_optimizer(model, config)
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.1  # AudioCraft decays vectors, too
    for gradients in make_gradients():
        for weight, gradient in zip(model, gradients, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()
    moved = max(float((new.detach() - old).abs().max()) for new, old in zip(model, make_weights(), strict=True))
    assert moved > 0.01
    for weight, expected in zip(model, GOLDEN["dadam"], strict=True):
        assert weight.detach().flatten().tolist() == pytest.approx(expected, abs=1e-6)


SCHEDULES: dict[str, tuple[ScheduleConfig, float]] = {
    "cosine": (CosineScheduleConfig(), 0.1),
    "polynomial": (PolynomialScheduleConfig(kind="polynomial", power=2.0), 0.1),
    "inverse_sqrt": (InverseSqrtScheduleConfig(kind="inverse_sqrt"), 0.0),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_behind_the_warm_up(name: str) -> None:
    schedule, floor = SCHEDULES[name]
    config = TrainingConfig(learning_rate=2.0, warmup_steps=20, steps=100, lr_min_ratio=floor, schedule=schedule)
    assert learning_rates(lambda step: learning_rate(step, config)) == pytest.approx(
        GOLDEN["schedules"][name], rel=1e-9
    )


def test_average_of_weights() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    ema, found = Ema(model, decay=0.9), []
    for value in (1.0, 4.0, -2.0, 0.5):
        with torch.no_grad():
            model.weight.fill_(value)
        ema.update()
        found.append(float(ema.state_dict()["weight"]))
    assert found == pytest.approx(GOLDEN["ema"], abs=1e-6)
