"""Muon: orthogonalised momentum for hidden matrices, AdamW for the rest (https://kellerjordan.github.io/posts/muon/).

Why not torch.optim.Muon (torch 2.14): it iterates in bfloat16 on whatever it is given, and a shard's rows are not the
matrix; it takes no other parameters, so that a run would have two optimizers to save; and it would orthogonalise the
fused query, key and value rows of an attention together, which its author advises against.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from musicgen_core.train.shards import gather, local, own_part, zeros_like

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration that brings singular values near 1 fastest (Jordan's post)."""

EPS = 1e-7

Group = dict[str, Any]


class Muon(torch.optim.Optimizer):
    """Groups with a number of `parts` are Muon's, each matrix being that many equal blocks of rows; others are AdamW's.

    m <- mu m + (1-mu) g; u = (1-mu) g + mu m; p <- p (1 - lr wd) - 0.2 sqrt(max(rows, columns)) lr O(u), with O the
    orthogonalisation of each block. The factor gives updates the RMS of AdamW's (arXiv 2502.16982, equation 4).
    Every process gathers each matrix whole, one after the other, and computes the same update.
    """

    def __init__(
        self,
        groups: list[Group],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        momentum: float,
        num_iterations: int,
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "parts": 0})
        self.momentum, self.num_iterations = momentum, num_iterations

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # None is all it takes
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters and group["parts"]:
                self._move_matrices(group, parameters)
            elif parameters:
                self._move_others(group, parameters)

    def _move_matrices(self, group: Group, parameters: list[Tensor]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = zeros_like(parameter)
        momenta = local(self.state[p]["momentum"] for p in parameters)
        gradients = local(p.grad for p in parameters if p.grad is not None)
        torch._foreach_lerp_(momenta, gradients, 1 - self.momentum)
        updates = torch._foreach_lerp(gradients, momenta, self.momentum)
        for parameter, weight, update in zip(parameters, local(parameters), updates, strict=True):
            blocks = gather(update, parameter).chunk(group["parts"])
            scale = 0.2 * math.sqrt(max(blocks[0].shape))
            whole = torch.cat([orthogonalize(block, self.num_iterations) for block in blocks])
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(own_part(whole, parameter), alpha=-group["lr"] * scale)

    def _move_others(self, group: Group, parameters: list[Tensor]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                self.state[parameter]["exp_avg"] = zeros_like(parameter)
                self.state[parameter]["exp_avg_sq"] = zeros_like(parameter)
        beta1, beta2 = group["betas"]
        adamw(
            local(parameters),
            local(p.grad for p in parameters if p.grad is not None),
            local(self.state[p]["exp_avg"] for p in parameters),
            local(self.state[p]["exp_avg_sq"] for p in parameters),
            [],
            [self.state[p]["step"] for p in parameters],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonalize(matrix: Tensor, num_iterations: int) -> Tensor:
    """`matrix` [rows, columns] with its singular values brought near 1: 0.7 to 1.2, the very smallest less.

    In bfloat16 on a GPU, as its author runs it, and in fp32 on a CPU; -> the dtype of `matrix`.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(torch.bfloat16 if matrix.is_cuda else torch.float32)
    x = x.T if tall else x
    x = x / x.norm().clamp(min=EPS)
    for _ in range(num_iterations):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)
