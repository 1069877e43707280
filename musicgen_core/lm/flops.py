"""Arithmetic of one forward pass, from the shape alone: what a trainer's utilisation (MFU) is counted from.

A multiplication and an addition are two operations; only matrix products count, as in torch's FlopCounterMode. Norms,
activations, embeddings and softmax are left out (well below 1 % at MusicGen's sizes).

Legend: B batch, S steps of codes, P steps of prefix, L condition length, D width, N layers, K codebooks, C cardinality.
"""

from __future__ import annotations

from dataclasses import dataclass

from musicgen_core.lm.model import LanguageModel


@dataclass(frozen=True)
class Flops:
    """Of one forward pass."""

    linear: int
    """Products with weights."""

    attention: int
    """Products of queries, keys and values, counted in full."""

    unseen: int
    """The half of the self-attention that lies in the future: a causal kernel does not compute it."""

    @property
    def forward(self) -> int:
        """As torch counts it."""
        return self.linear + self.attention

    @property
    def training(self) -> int:
        """Forward and backward, without the unseen half: what utilisation is counted from, in a run's log and in
        benchmarks/. The backward pass has two products for each of the forward pass."""
        return 3 * (self.forward - self.unseen)


def count_flops(model: LanguageModel, batch: int, num_steps: int, condition_length: int, num_prefix: int = 0) -> Flops:
    """B samples of S steps, with L positions to attend to across and P in front.

    N (24 D^2 (S + P)) without cross-attention, N (28 D^2 (S + P) + 4 D^2 L) with, 2 K D C S for the heads; attention
    4 N D (S + P)^2 and, across, 4 N D (S + P) L. Encoding the conditions is not counted.
    """
    dim, _, num_layers = model.config.shape
    cross = "cross" in model.fusions.values()
    steps = num_steps + num_prefix
    linear = (
        num_layers * steps * (28 if cross else 24) * dim**2 + 2 * model.num_codebooks * dim * model.card * num_steps
    )
    attention = 4 * num_layers * dim * steps**2
    if cross:
        linear += 4 * num_layers * condition_length * dim**2
        attention += 4 * num_layers * dim * steps * condition_length
    return Flops(linear=batch * linear, attention=batch * attention, unseen=batch * 2 * num_layers * dim * steps**2)
