"""A model on one fixed batch: short trainings with the trainer's own step, and what the batch holds.

Where the run's own model would take too long here (a large one without a GPU), a tiny one of the same kind stands in.

Legend: B batch, K codebooks, T frames, C card.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from musicgen_core.config.model import ModelConfig
from musicgen_core.config.training import TrainingConfig
from musicgen_core.config.words import WordsConfig
from musicgen_core.data.batches import Batch, TokenDataset, count_segment_frames
from musicgen_core.data.tracks import open_tracks
from musicgen_core.eval.unigram import own_unigram, score_unigram
from musicgen_core.lm.flops import count_flops
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model
from musicgen_core.preflight.material import Material
from musicgen_core.train.freeze import freeze
from musicgen_core.train.optim import build_optimizer, set_learning_rate
from musicgen_core.train.ranks import World
from musicgen_core.train.step import NonFiniteError, Objective, train_step, validate
from musicgen_core.train.stop import StopSignals

STEP_FLOPS = {"cpu": 1.5e10, "cuda": 1e13}
"""Of a training step on the fixed batch: some tenths of a second on a slow core, or on a GPU."""

FORWARD_FLOPS = {"cpu": 2e12, "cuda": 1e14}
CPU_PARAMETERS = 2_000_000_000
"""Larger models are not built without a GPU: 8 GB in fp32."""

MAX_BATCH, MIN_FRAMES = 4, 50
WARMUP_STEPS = 5


@dataclass(frozen=True)
class Trial:
    """One batch, and a model that is small enough to be trained on it here."""

    batch: Batch
    model: ModelConfig
    stand_in: bool
    """`model` is smaller than the run's own."""

    num_frames: int
    entropy_K: np.ndarray
    """Of the batch's own codes, nats: no predictor without context pays less."""

    world: World
    material: Material

    def build(self) -> LanguageModel:
        """A fresh model; always the same."""
        run = self.material.run
        model = build_model(self.model, run.conditioner, self.material.spec, self.world.device)
        initialize(model, run.seed)
        if not self.stand_in:
            freeze(model, run.training.freeze)
        return model

    def train(self, learning_rate: float, steps: int) -> Iterator[np.ndarray]:
        """Yield the loss of each codebook before each step; the last is NaN where it is not finite.

        Optimizer, decay, clipping and frozen weights as of the run; fresh weights, a short warm-up, then a constant
        rate; no condition is dropped, words are as written.
        """
        config = self.config(learning_rate)
        model = self.build()
        objective, optimizer = Objective(model), build_optimizer(model, config)
        for step in range(steps):
            set_learning_rate(optimizer, learning_rate * min(1.0, (step + 1) / WARMUP_STEPS))
            try:
                result = train_step(
                    objective,
                    optimizer,
                    self.batch,
                    step=step,
                    seed=self.material.run.seed,
                    pattern=model.pattern(self.num_frames),
                    world=self.world,
                    config=config,
                    signals=StopSignals(),
                )
            except NonFiniteError:
                yield np.full(len(self.entropy_K), np.nan)
                return
            yield result.loss_K

    def config(self, learning_rate: float) -> TrainingConfig:
        """The run's, for one batch, without anything that draws."""
        return replace(
            self.material.run.training,
            learning_rate=learning_rate,
            micro_batch_size=None,
            batch_size=len(self.batch.tracks),
            cfg_dropout=0.0,
            words=WordsConfig(),
        )


def open_trial(material: Material, device: torch.device) -> Trial:
    """Draw the batch, and choose the model."""
    run, spec = material.run, material.spec
    frames = count_segment_frames(run.training.segment_sec, spec)
    batch_size = min(MAX_BATCH, run.training.batch_size)
    model, budget = run.model, STEP_FLOPS[device.type]
    while _training_flops(material, model, batch_size, frames) > budget and frames > MIN_FRAMES:
        frames = max(MIN_FRAMES, frames // 2)
    if _training_flops(material, model, batch_size, frames) > budget:
        model = replace(model, size="tiny", dim=None, num_heads=None, num_layers=None)
        frames = min(250, count_segment_frames(run.training.segment_sec, spec))
    batch = draw_batch(material, model, batch_size, frames)
    codes = [codes_KT.numpy() for codes_KT in batch.codes_BKT]
    masks = _predicted(material, model, batch, frames)
    scores = score_unigram(own_unigram(codes, masks, spec.card), codes, masks)
    return Trial(
        batch=batch,
        model=model,
        stand_in=model is not run.model,
        num_frames=frames,
        entropy_K=scores.nll_GK.sum(axis=0) / np.maximum(scores.num_GK.sum(axis=0), 1),
        world=World(0, 1, device, None),
        material=material,
    )


def draw_batch(material: Material, model: ModelConfig, batch_size: int, frames: int) -> Batch:
    """The first samples of the run, cut to so many frames."""
    run, spec = material.run, material.spec
    built = build_model(model, run.conditioner, spec, "meta")
    dataset = TokenDataset(
        open_tracks(material.manifests, material.indexes, "train", spec),
        seed=run.seed,
        batch_size=batch_size,
        segment_frames=frames,
        min_segment_ratio=run.training.min_segment_ratio,
        sampling=run.training.sampling,
        pattern=built.pattern(frames),
    )
    return next(iter(islice(dataset, 1)))


@torch.no_grad()
def measure_loss(material: Material, model: LanguageModel, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """(loss, root of the sum of squared shares of the codes) of each codebook on the run's first samples, as validation
    measures it."""
    frames = count_segment_frames(material.run.training.segment_sec, material.spec)
    size = min(MAX_BATCH, material.run.training.batch_size)
    while (
        _training_flops(material, model.config, size, frames) > 3 * FORWARD_FLOPS[device.type] and frames > MIN_FRAMES
    ):
        frames = max(MIN_FRAMES, frames // 2)
    batch = draw_batch(material, model.config, size, frames)
    world = World(0, 1, device, None)
    pattern = model.pattern(frames)
    loss_K = validate(Objective(model), [batch], pattern, world, material.run.training)
    codes = [batch.codes_BKT[:, k][batch.mask_BT].numpy() for k in range(len(loss_K))]
    shares = [np.bincount(codes_N, minlength=material.spec.card) / max(1, len(codes_N)) for codes_N in codes]
    return loss_K, np.sqrt(np.square(shares).sum(axis=1))


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """So many CPU threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _predicted(material: Material, model: ModelConfig, batch: Batch, frames: int) -> list[np.ndarray]:
    """mask_KT of each sample: codes that are in the track and that the pattern lets the model predict."""
    built = build_model(model, material.run.conditioner, material.spec, "meta")
    pattern = built.pattern(frames)
    mask_KT = pattern.step_KT < pattern.num_valid_steps
    return [mask_KT & mask_T.numpy()[None] for mask_T in batch.mask_BT]


def _training_flops(material: Material, model: ModelConfig, batch_size: int, frames: int) -> int:
    built = build_model(model, material.run.conditioner, material.spec, "meta")
    steps = built.pattern(frames).num_valid_steps
    return count_flops(built, batch_size, steps, built.conditioner.max_length).training
