"""One optimizer step, and one validation.

Legend: B batch, K codebooks, T frames, C cardinality.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from musicgen_core.conditioners.base import Prepared
from musicgen_core.conditioners.rows import Row, plain_rows, training_rows
from musicgen_core.config.condition import hides_frames
from musicgen_core.config.training import TrainingConfig
from musicgen_core.data.batches import Batch
from musicgen_core.lm.model import LanguageModel
from musicgen_core.patterns.layout import Pattern
from musicgen_core.train.loss import Losses, count_masked, count_valid, sum_losses
from musicgen_core.train.optim import effective_rate
from musicgen_core.train.parallel import average_gradients, is_sharded
from musicgen_core.train.ranks import World
from musicgen_core.train.stop import StopSignals


class NonFiniteError(ValueError):
    """A loss or gradient that is not a number; no weight was changed by it."""


class Objective(nn.Module):
    """Captions and codes in, loss sums out. The outermost module, so that its forward covers every weight in use."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        sequence_BKS: Tensor,
        codes_BKT: Tensor,
        mask_BT: Tensor,
        prepared: dict[str, Prepared],
        weights_K: Tensor | None = None,
    ) -> Losses:
        """`sequence_BKS` holds the same codes as `codes_BKT`; each codebook's sum goes into the total by its weight,
        None: 1."""
        if weights_K is None:
            weights_K = torch.ones(codes_BKT.shape[1], device=codes_BKT.device)
        pattern = self.model.pattern(codes_BKT.shape[2])
        x_BSD = self.model.hidden_states(sequence_BKS, prepared)
        heads = [cast(Tensor, linear.weight) for linear in self.model.linears]
        return sum_losses(x_BSD, heads, pattern, codes_BKT, mask_BT, weights_K)


@dataclass(frozen=True)
class StepResult:
    """What all processes agree on after a step."""

    loss_K: np.ndarray
    """Mean cross-entropy of each codebook over the global batch, nats."""

    grad_norm: float
    """Before clipping."""

    learning_rate: float
    stop: bool
    """Some process was asked to stop."""

    requeue: bool
    """... by the signal that SLURM sends before it takes the machine away."""

    save: bool
    """It is time for a checkpoint, by the first process's clock."""

    @property
    def loss(self) -> float:
        return float(self.loss_K.mean())


def train_step(
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    *,
    step: int,
    seed: int,
    pattern: Pattern,
    world: World,
    config: TrainingConfig,
    signals: StopSignals,
) -> StepResult:
    """Forward, backward, clip, update. `step` counts finished steps.

    Raises NonFiniteError on every process, before any weight changes, when a loss or the gradient is not finite.
    """
    # Dropout inside the model, where configured, is a function of (seed, step, process): resuming needs no saved state.
    torch.manual_seed(int(np.random.SeedSequence([seed, step, world.rank]).generate_state(1, np.uint64)[0] >> 1))
    conditions = objective.model.config.conditions
    counts_K = count_valid(pattern, batch.global_num_valid)
    if hides_frames(conditions):  # which ones each process knows of its own samples only
        counts_K = _sum_counts(count_masked(pattern, batch.mask_BT), world)
    rows = training_rows(
        batch.lines, conditions, config.words, config.cfg_dropout, seed, batch.epochs_B, batch.indexes_B
    )
    weights_K = (world.size / (counts_K * len(counts_K))).float().to(world.device)
    size = config.micro_batch_size or len(batch.tracks)
    sums = []
    for number, part in enumerate(batch.split(size)):
        world.watch.mark("forward and backward", step)
        prepared = _prepare(objective.model, rows[number * size : (number + 1) * size], world)
        with autocast(world, config):
            losses = objective(*_inputs(part, world), prepared, weights_K)
        # Gradients are averaged over processes, hence the factor world.size in the weights.
        losses.total.backward()
        sums.append(losses.sums_BK)
    world.watch.mark("gradients of all")
    if world.size > 1 and not is_sharded(world, config):
        average_gradients(objective)
    grad_norm = _full(nn.utils.clip_grad_norm_(objective.parameters(), config.max_grad_norm or math.inf))

    sums_BK = torch.cat(sums).double()
    asked = torch.tensor([signals.stop, signals.requeue, signals.save], dtype=torch.float64, device=world.device)
    totals = world.sum(torch.cat([sums_BK.sum(0), asked])).cpu()
    if not (torch.isfinite(totals).all() and torch.isfinite(grad_norm)):
        _raise_non_finite(step, batch, sums_BK, float(grad_norm), world)
    rate = effective_rate(optimizer)
    world.watch.mark("update")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for conditioner in objective.model.conditioners.values():
        if any(weight.requires_grad for weight in conditioner.parameters()):  # frozen: its codebooks stay, too
            conditioner.learn(step, world.sum)
    return StepResult(
        loss_K=(totals[:-3] / counts_K).numpy(),
        grad_norm=float(grad_norm),
        learning_rate=rate,
        stop=bool(totals[-3] > 0),
        requeue=bool(totals[-2] > 0),
        save=bool(totals[-1] > 0),
    )


@torch.no_grad()
def validate(
    objective: Objective, batches: Iterable[Batch], pattern: Pattern, world: World, config: TrainingConfig
) -> np.ndarray:
    """Mean cross-entropy of each codebook over all validation segments, float64 [K]. A collective call."""
    totals_K = counts_K = None
    hides = hides_frames(objective.model.config.conditions)
    left_K = torch.zeros(len(pattern.step_KT), dtype=torch.float64)
    objective.eval()
    for batch in batches:
        world.watch.mark("validation")
        prepared = _prepare(objective.model, plain_rows(batch.lines, objective.model.config.conditions), world)
        with autocast(world, config):
            losses = objective(*_inputs(batch, world), prepared)
        part_K = losses.sums_BK.double().sum(0)
        totals_K = part_K if totals_K is None else totals_K + part_K
        counts_K = count_valid(pattern, batch.global_num_valid)
        left_K += count_masked(pattern, batch.mask_BT) if hides else 0
    objective.train()
    assert totals_K is not None
    assert counts_K is not None
    if hides:
        counts_K = _sum_counts(left_K, world)
    return (world.sum(totals_K).cpu() / counts_K).numpy()


def _sum_counts(counts_K: Tensor, world: World) -> Tensor:
    """Over all processes, float64 [K] on the CPU, at least 1. A collective call."""
    return world.sum(counts_K.to(world.device)).cpu().clamp_min(1)


def autocast(world: World, config: TrainingConfig) -> AbstractContextManager[None]:
    return torch.autocast(world.device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16")


def _inputs(batch: Batch, world: World) -> tuple[Tensor, Tensor, Tensor]:
    """Tensors of a batch as the objective takes them, on the world's device."""
    assert batch.sequence_BKS is not None, "the loader must be given the model's pattern"
    tensors = (batch.sequence_BKS, batch.codes_BKT, batch.mask_BT)  # pinned, so copied beside the device's work
    sequence_BKS, codes_BKT, mask_BT = (tensor.to(world.device, non_blocking=True) for tensor in tensors)
    return sequence_BKS, codes_BKT, mask_BT


def _prepare(model: LanguageModel, rows: list[Row], world: World) -> dict[str, Prepared]:
    return {name: prepared.to(world.device) for name, prepared in model.prepare(rows).items()}


def _full(norm: Tensor) -> Tensor:
    """The norm over all processes as a plain CPU scalar."""
    return (norm.full_tensor() if hasattr(norm, "full_tensor") else norm).detach().cpu()


def _raise_non_finite(step: int, batch: Batch, sums_BK: Tensor, grad_norm: float, world: World) -> None:
    bad_B = ~torch.isfinite(sums_BK).all(1).cpu()
    bad_keys = [key for key, bad in zip(batch.tracks, bad_B.tolist(), strict=True) if bad]
    reports = world.gather((bad_keys, batch.tracks))
    if any(bad for bad, _ in reports):
        where = "; ".join(f"process {rank}: tracks {', '.join(bad)}" for rank, (bad, _) in enumerate(reports) if bad)
        what = "the loss is not finite"
    else:
        where = "; ".join(f"process {rank}: tracks {', '.join(keys)}" for rank, (_, keys) in enumerate(reports))
        what = f"the gradient norm is {grad_norm} although every loss is finite"
    raise NonFiniteError(
        f"step {step + 1}: {what}; {where}. No weight was changed. Lower training.learning_rate, or look at these "
        "tracks; the last checkpoint is untouched"
    )
