"""How weights move: the optimizer, the schedule of its learning rate, and when a run ends before its last step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class AdamWConfig:
    """Adam with decoupled weight decay (arXiv 1711.05101)."""

    kind: Literal["adamw"] = "adamw"


@dataclass(frozen=True, kw_only=True)
class LionConfig:
    """The sign of a momentum (arXiv 2302.06675): half of AdamW's state. Its authors advise a third to a tenth of
    AdamW's learning rate, three to ten times its weight decay, and betas [0.9, 0.99] or [0.95, 0.98]."""

    kind: Literal["lion"]


@dataclass(frozen=True, kw_only=True)
class DAdaptAdamConfig:
    """Adam that finds its own step size (D-Adaptation, arXiv 2301.07733), as AudioCraft trained MusicGen small.
    learning_rate is a factor of what it finds: leave it at 1."""

    kind: Literal["dadapt_adam"]

    initial_d: float = 1e-6
    """First guess of the distance from the initial weights to a solution; too low is safe, it only grows."""

    growth_rate: float | None = None
    """Largest factor by which the guess grows in one step, such as 1.02; null: any."""


@dataclass(frozen=True, kw_only=True)
class MuonConfig:
    """Orthogonalised momentum for the matrices inside the transformer's layers (Muon,
    https://kellerjordan.github.io/posts/muon/); AdamW for embeddings, heads, norms and conditioners. Updates are scaled
    to AdamW's (arXiv 2502.16982, section 2.2), so that its learning_rate and weight_decay serve both."""

    kind: Literal["muon"]

    momentum: float = 0.95
    """Of the matrices' Nesterov momentum; `betas` are AdamW's."""

    num_iterations: int = 5
    """Newton-Schulz iterations of the orthogonalisation."""


OptimizerConfig = AdamWConfig | LionConfig | DAdaptAdamConfig | MuonConfig


@dataclass(frozen=True, kw_only=True)
class CosineScheduleConfig:
    """Half a cosine from the peak to the floor at the last step; MusicGen's."""

    kind: Literal["cosine"] = "cosine"

    cycle_length: float = 1.0
    """Half cosines take this share of the steps after the warm-up; 0.5 is back at the peak at the end."""


@dataclass(frozen=True, kw_only=True)
class ConstantScheduleConfig:
    """The peak for ever."""

    kind: Literal["constant"]


@dataclass(frozen=True, kw_only=True)
class LinearScheduleConfig:
    """A straight line from the peak to the floor at the last step."""

    kind: Literal["linear"]


@dataclass(frozen=True, kw_only=True)
class InverseSqrtScheduleConfig:
    """The peak times sqrt(warmup_steps / step) (arXiv 1706.03762, section 5.3); does not depend on `steps`."""

    kind: Literal["inverse_sqrt"]


@dataclass(frozen=True, kw_only=True)
class PolynomialScheduleConfig:
    """(1 - progress)^power from the peak to the floor at the last step."""

    kind: Literal["polynomial"]

    power: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ExponentialScheduleConfig:
    """The peak times gamma for every step after the warm-up; does not depend on `steps`."""

    kind: Literal["exponential"]

    gamma: float
    """Factor per step: 0.5 ** (1 / n) halves the rate every n steps."""


ScheduleConfig = (
    CosineScheduleConfig
    | ConstantScheduleConfig
    | LinearScheduleConfig
    | InverseSqrtScheduleConfig
    | PolynomialScheduleConfig
    | ExponentialScheduleConfig
)


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingConfig:
    """A run whose validation loss no longer falls ends as finished; its best weights are what is exported anyway."""

    patience: int = 10
    """Validations in a row without a better loss after which the run ends."""

    min_delta: float = 0.0
    """A loss counts as better when it is lower than the best by more than this, nats."""
