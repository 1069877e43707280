"""Randomness for the synthesiser: a function of (seed, stream) alone, the same under every numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """Draws from Philox4x64-10 with key (seed, stream).

    Only raw words are taken from numpy: it keeps those stable, but not what its Generator makes of them (NEP 19).
    """

    def __init__(self, seed: int, stream: int) -> None:
        self._bits = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))

    def uniforms(self, count: int) -> np.ndarray:
        """float64 [count] in [0, 1)."""
        return (self._bits.random_raw(count) >> np.uint64(11)) * 2.0**-53

    def chance(self, probability: float) -> bool:
        return bool(self.uniforms(1)[0] < probability)

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.uniforms(1)[0] * len(items))]

    def noise(self, count: int) -> np.ndarray:
        """White noise, uniform in [-1, 1)."""
        return 2.0 * self.uniforms(count) - 1.0
