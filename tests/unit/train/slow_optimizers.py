"""Optimizers one number at a time, in float64 and without torch: what the fast ones are compared with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Arrays = list[np.ndarray]


def adamw(weights: Arrays, gradients: list[Arrays], decays: list[float], t: Any) -> Arrays:
    """arXiv 1711.05101, algorithm 2. `gradients`: step -> one per weight."""
    weights = [w.copy() for w in weights]
    for index, w in enumerate(weights):
        m, v = np.zeros_like(w), np.zeros_like(w)
        for number, step in enumerate(gradients, start=1):
            g = step[index]
            m = t.betas[0] * m + (1 - t.betas[0]) * g
            v = t.betas[1] * v + (1 - t.betas[1]) * g * g
            m_hat, v_hat = m / (1 - t.betas[0] ** number), v / (1 - t.betas[1] ** number)
            w -= t.learning_rate * decays[index] * w
            w -= t.learning_rate * m_hat / (np.sqrt(v_hat) + t.eps)
    return weights


def lion(weights: Arrays, gradients: list[Arrays], decays: list[float], t: Any) -> Arrays:
    """arXiv 2302.06675, algorithm 2."""
    weights = [w.copy() for w in weights]
    for index, w in enumerate(weights):
        m = np.zeros_like(w)
        for step in gradients:
            g = step[index]
            c = t.betas[0] * m + (1 - t.betas[0]) * g
            w -= t.learning_rate * (np.sign(c) + decays[index] * w)
            m = t.betas[1] * m + (1 - t.betas[1]) * g
    return weights


def dadapt_adam(weights: Arrays, gradients: list[Arrays], decays: list[float], t: Any) -> tuple[Arrays, float]:
    """The formulas of AudioCraft's DAdaptAdam, scalar by scalar; -> (weights, d)."""
    weights = [w.copy() for w in weights]
    beta1, beta2 = t.betas
    d, q = t.optimizer.initial_d, 0.0
    growth = t.optimizer.growth_rate or math.inf
    m, v, s = ([np.zeros_like(w) for w in weights] for _ in range(3))
    for step in gradients:
        size, sum_g, sum_s, sum_abs = d * t.learning_rate, 0.0, 0.0, 0.0
        for index, g in enumerate(step):
            for place in np.ndindex(g.shape):
                one = float(g[place])
                m[index][place] = beta1 * m[index][place] + size * (1 - beta1) * one
                v[index][place] = beta2 * v[index][place] + (1 - beta2) * one * one
                s[index][place] = beta2 * s[index][place] + size * (1 - beta2) * one
                bottom = math.sqrt(v[index][place]) + t.eps
                sum_g += one * one / bottom
                sum_s += s[index][place] ** 2 / bottom
                sum_abs += abs(s[index][place])
                weights[index][place] -= decays[index] * size * weights[index][place] + m[index][place] / bottom
        q = beta2 * q + (1 - beta2) * size * size * sum_g
        if sum_abs:
            d = max(d, min((sum_s / (1 - beta2) - q) / sum_abs, d * growth))
    return weights, d


def muon(weight: np.ndarray, gradients: Arrays, parts: int, decay: float, t: Any) -> np.ndarray:
    """Jordan's post, one matrix of `parts` blocks of rows, the iteration by the singular values it acts on."""
    weight, m = weight.copy(), np.zeros_like(weight)
    mu = t.optimizer.momentum
    for g in gradients:
        m = mu * m + (1 - mu) * g
        blocks = np.split((1 - mu) * g + mu * m, parts)
        weight -= t.learning_rate * decay * weight
        scale = 0.2 * math.sqrt(max(blocks[0].shape))
        weight -= t.learning_rate * scale * np.concatenate([_polish(b, t.optimizer.num_iterations) for b in blocks])
    return weight


def _polish(matrix: np.ndarray, num_iterations: int) -> np.ndarray:
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.sqrt((values**2).sum())
    for _ in range(num_iterations):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left @ np.diag(values) @ right
