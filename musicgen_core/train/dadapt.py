"""D-Adaptation: Adam that finds its own step size (Defazio and Mishchenko, arXiv 2301.07733)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from musicgen_core.train.shards import local, sum_parts, zeros_like

Group = dict[str, Any]


class DAdaptAdam(torch.optim.Optimizer):
    """As AudioCraft's DAdaptAdam (audiocraft/optim/dadam.py in facebookresearch/audiocraft), with one wait per step.

    With step size e = d lr and gradient g: m <- b1 m + e (1-b1) g; v <- b2 v + (1-b2) g^2; s <- b2 s + e (1-b2) g;
    q <- b2 q + (1-b2) e^2 sum(g^2 / (sqrt(v)+eps)); d' = (sum(s^2 / (sqrt(v)+eps)) / (1-b2) - q) / sum|s|;
    p <- p - wd e p - m / (sqrt(v)+eps); d <- max(d, min(d', d growth)). No bias correction. The sums run over all
    parameters and all shards; d and q are the same on every process and are kept in every parameter group.
    """

    def __init__(
        self,
        groups: list[Group],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        initial_d: float,
        growth_rate: float | None,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(groups, {**defaults, "d": initial_d, "numerator": 0.0})
        self.growth_rate = float("inf") if growth_rate is None else growth_rate

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # None is all it takes
        first = self.param_groups[0]
        d, rate, beta2 = first["d"], first["lr"], first["betas"][1]
        moved = [(group, self._with_gradient(group)) for group in self.param_groups]
        sums = [self._move(group, parameters, d * rate) for group, parameters in moved if parameters]
        if not sums or rate == 0:
            return
        everyone = next(parameters for _, parameters in moved if parameters)
        gradients, momenta, length = sum_parts(torch.stack(sums).sum(0), everyone).tolist()
        if length == 0:
            return
        numerator = beta2 * first["numerator"] + (1 - beta2) * (d * rate) ** 2 * gradients
        estimate = (momenta / (1 - beta2) - numerator) / length
        for group in self.param_groups:
            group["d"] = max(d, min(estimate, d * self.growth_rate))
            group["numerator"] = numerator

    def _with_gradient(self, group: Group) -> list[Tensor]:
        parameters = [p for p in group["params"] if p.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter].update({name: zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq", "s")})
        return parameters

    def _move(self, group: Group, parameters: list[Tensor], size: float) -> Tensor:
        """Update one group; -> this process's sums of g^2 / denominator, s^2 / denominator and |s|, float64 [3]."""
        beta1, beta2 = group["betas"]
        weights, gradients = local(parameters), local(p.grad for p in parameters if p.grad is not None)
        m, v, s = (local(self.state[p][name] for p in parameters) for name in ("exp_avg", "exp_avg_sq", "s"))
        torch._foreach_mul_(m, beta1)
        torch._foreach_add_(m, gradients, alpha=size * (1 - beta1))
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, gradients, gradients, value=1 - beta2)
        torch._foreach_mul_(s, beta2)
        torch._foreach_add_(s, gradients, alpha=size * (1 - beta2))
        denominators = torch._foreach_sqrt(v)
        torch._foreach_add_(denominators, group["eps"])
        torch._foreach_mul_(weights, 1 - group["weight_decay"] * size)
        torch._foreach_addcdiv_(weights, m, denominators, value=-1.0)
        squares = torch._foreach_div(torch._foreach_mul(gradients, gradients), denominators)
        totals = [_sum(squares)]
        squares = torch._foreach_div(torch._foreach_mul(s, s), denominators)
        totals += [_sum(squares), _sum(torch._foreach_abs(s))]
        return torch.stack(totals)


def _sum(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return torch.stack([tensor.sum(dtype=torch.float64) for tensor in tensors]).sum()
