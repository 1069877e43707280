"""Residual quantisation: nearest entries, codebooks that follow what they see, whoever saw it."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from musicgen_core.conditioners.quantizer import ResidualQuantizer


def alone(sums: Tensor) -> Tensor:
    return sums


def learn_apart(quantizer: ResidualQuantizer, step: int) -> Tensor:
    """Take the sums out of a quantizer, which learns nothing by it."""
    taken = []

    def take(sums: Tensor) -> Tensor:
        taken.append(sums)
        return torch.zeros_like(sums)

    quantizer.learn(step, take)
    return taken[0]


def add_up(heard: list[Tensor], own: Tensor) -> Tensor:
    assert not own.any()
    return heard[0] + heard[1]


def vectors(count: int, seed: int = 0, dim: int = 4) -> Tensor:
    """Around eight points."""
    generator = torch.Generator().manual_seed(7)
    points = 3 * torch.randn(8, dim, generator=generator)
    generator.manual_seed(seed)
    chosen = torch.randint(0, 8, (count,), generator=generator)
    return (points[chosen] + 0.1 * torch.randn(count, dim, generator=generator))[:, None]


def taught(steps: int = 60, **options: float) -> ResidualQuantizer:
    quantizer = ResidualQuantizer(4, 3, 16, **{"decay": 0.8, **options})
    for step in range(steps):
        x_BLD = vectors(64, step)
        quantizer(x_BLD, torch.ones(x_BLD.shape[:2], dtype=torch.bool))
        quantizer.learn(step, alone)
    return quantizer.eval()


def test_equals_the_definition() -> None:
    """Level by level, the nearest entry by distances one by one."""
    quantizer, x_BLD = taught(), vectors(20, 99)
    found_BLD = quantizer(x_BLD, torch.ones(20, 1, dtype=torch.bool))
    for x_D, found_D in zip(x_BLD[:, 0].numpy(), found_BLD[:, 0].numpy(), strict=True):
        residual_D, expected_D = x_D.copy(), np.zeros(4, np.float32)
        for codebook in quantizer.codebooks:
            entries_ND = codebook.embed.numpy()
            nearest_D = entries_ND[np.argmin(((entries_ND - residual_D) ** 2).sum(1))]
            residual_D, expected_D = residual_D - nearest_D, expected_D + nearest_D
        np.testing.assert_allclose(found_D, expected_D, atol=1e-5)


def test_codebooks_come_nearer_to_what_they_see() -> None:
    x_BLD, mask_BL = vectors(200, 99), torch.ones(200, 1, dtype=torch.bool)
    errors = [float((taught(steps)(x_BLD, mask_BL) - x_BLD).square().mean()) for steps in (1, 5, 60)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02 * float(x_BLD.square().mean())


def test_gradients_pass_through() -> None:
    x_BLD = vectors(6).requires_grad_()
    weights = torch.randn(x_BLD.shape)
    (taught()(x_BLD, torch.ones(6, 1, dtype=torch.bool)) * weights).sum().backward()
    torch.testing.assert_close(x_BLD.grad, weights)


def test_neither_processes_nor_micro_batches_show() -> None:
    """Two halves, whose sums are added up, teach what the whole does; samples without a value teach nothing."""
    whole, halves = ResidualQuantizer(4, 3, 16), [ResidualQuantizer(4, 3, 16) for _ in range(2)]
    for step in range(8):
        x_BLD = vectors(32, step)
        mask_BL = torch.ones(32, 1, dtype=torch.bool)
        mask_BL[::5] = False
        noisy_BLD = torch.where(mask_BL[..., None], x_BLD, 1e6)
        whole(x_BLD, mask_BL)
        whole.learn(step, alone)
        for rank, quantizer in enumerate(halves):
            share = slice(16 * rank, 16 * (rank + 1))
            for part in (slice(share.start, share.start + 7), slice(share.start + 7, share.stop)):
                quantizer(noisy_BLD[part], mask_BL[part])
        heard = [learn_apart(quantizer, step) for quantizer in halves]
        for quantizer in halves:
            quantizer.learn(step, partial(add_up, heard))
    for quantizer in halves:
        for name, buffer in quantizer.state_dict().items():
            torch.testing.assert_close(buffer, whole.state_dict()[name], atol=1e-5, rtol=1e-5)
    assert all(codebook.is_ready() for codebook in whole.codebooks)


def test_evaluation_teaches_nothing() -> None:
    quantizer = taught()
    before = {name: buffer.clone() for name, buffer in quantizer.state_dict().items()}
    quantizer(vectors(10), torch.ones(10, 1, dtype=torch.bool))
    quantizer.learn(3, alone)
    assert all(torch.equal(before[name], buffer) for name, buffer in quantizer.state_dict().items())


def test_dead_entries_are_drawn_anew() -> None:
    quantizer = taught(steps=4, threshold=0.5)
    used = [int((codebook.cluster_size >= 0.5).sum()) for codebook in quantizer.codebooks]
    assert used == [16, 16, 16]
    assert all(codebook.embed.isfinite().all() for codebook in quantizer.codebooks)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_level_waits_for_the_one_before_it(steps: int) -> None:
    assert [codebook.is_ready() for codebook in taught(steps).codebooks] == [level < steps for level in range(3)]
