"""Each schedule at 0, W-1, W, the middle, T, T+1; and today's default, bit for bit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicgen_core.config.optimization import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    ExponentialScheduleConfig,
    InverseSqrtScheduleConfig,
    LinearScheduleConfig,
    PolynomialScheduleConfig,
    ScheduleConfig,
)
from musicgen_core.config.training import TrainingConfig
from musicgen_core.train.schedule import ENDLESS, learning_rate

L, W, T, R = 2.0, 20, 100, 0.1
WHERE = (0, W - 1, W, 60, T, T + 1)
SCHEDULES: list[ScheduleConfig] = [
    CosineScheduleConfig(),
    ConstantScheduleConfig(kind="constant"),
    LinearScheduleConfig(kind="linear"),
    InverseSqrtScheduleConfig(kind="inverse_sqrt"),
    PolynomialScheduleConfig(kind="polynomial", power=3.0),
    ExponentialScheduleConfig(kind="exponential", gamma=0.97),
]

# after the warm-up, whose two values are the same for all: at W, in the middle, at T, at T+1
EXPECTED: list[tuple[ScheduleConfig, list[float]]] = [
    (CosineScheduleConfig(), [2.0, 1.1, 0.2, 0.2]),
    (CosineScheduleConfig(cycle_length=0.5), [2.0, 0.2, 0.2, 0.2]),
    (ConstantScheduleConfig(kind="constant"), [2.0, 2.0, 2.0, 2.0]),
    (LinearScheduleConfig(kind="linear"), [2.0, 1.1, 0.2, 0.2]),
    (PolynomialScheduleConfig(kind="polynomial"), [2.0, 1.1, 0.2, 0.2]),
    (PolynomialScheduleConfig(kind="polynomial", power=2.0), [2.0, 0.65, 0.2, 0.2]),
    (
        InverseSqrtScheduleConfig(kind="inverse_sqrt"),
        [2 * math.sqrt(20 / 21), 2 * math.sqrt(20 / 61), 2 * math.sqrt(20 / 101), 2 * math.sqrt(20 / 102)],
    ),
    (
        ExponentialScheduleConfig(kind="exponential", gamma=0.99),
        [2.0, 2 * 0.99**40, 2 * 0.99**80, 2 * 0.99**81],
    ),
    (ExponentialScheduleConfig(kind="exponential", gamma=0.5), [2.0, 0.2, 0.2, 0.2]),
]


@pytest.mark.parametrize(("schedule", "later"), EXPECTED, ids=lambda value: getattr(value, "kind", ""))
def test_the_formula_at_its_corners(schedule: ScheduleConfig, later: list[float]) -> None:
    config = TrainingConfig(learning_rate=L, warmup_steps=W, steps=T, lr_min_ratio=R, schedule=schedule)
    assert [learning_rate(step, config) for step in WHERE] == pytest.approx([L / W, L, *later], rel=1e-12)


def test_half_a_cycle_is_back_at_the_peak_just_before_the_end() -> None:
    config = TrainingConfig(
        learning_rate=L, warmup_steps=0, steps=10**6, schedule=CosineScheduleConfig(cycle_length=0.5)
    )
    assert learning_rate(10**6 - 1, config) == pytest.approx(L, rel=1e-9)


def test_the_default_is_what_it_was_bit_for_bit() -> None:
    config = TrainingConfig(learning_rate=3e-3, warmup_steps=7, steps=50, lr_min_ratio=0.05)
    for step in range(52):
        if step >= 50:
            expected = 3e-3 * 0.05
        elif step < 7:
            expected = 3e-3 * (step + 1) / 7
        else:
            expected = 3e-3 * (0.05 + (1 - 0.05) * 0.5 * (1 + math.cos(math.pi * (step - 7) / (50 - 7))))
        assert learning_rate(step, config) == expected


@given(
    st.sampled_from(SCHEDULES),
    st.integers(0, 60),
    st.integers(1, 50),
    st.floats(0, 1),
    st.integers(0, 200),
)
def test_any_lengths_give_a_rate_between_floor_and_peak(
    schedule: ScheduleConfig, warmup: int, steps: int, floor: float, step: int
) -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_steps=warmup, steps=steps, lr_min_ratio=floor, schedule=schedule)
    rate = learning_rate(step, config)
    assert 0 <= rate <= 1
    if step >= min(warmup, steps):
        assert rate >= min(floor, (step + 1) / max(1, warmup)) - 1e-12
    if step < min(warmup, steps):
        assert rate == (step + 1) / warmup


@pytest.mark.parametrize("schedule", [schedule for schedule in SCHEDULES if isinstance(schedule, ENDLESS)])
def test_more_steps_change_nothing_of_an_endless_schedule(schedule: ScheduleConfig) -> None:
    short, long = (TrainingConfig(schedule=schedule, steps=steps, warmup_steps=5) for steps in (20, 400))
    assert [learning_rate(step, short) for step in range(50)] == [learning_rate(step, long) for step in range(50)]
