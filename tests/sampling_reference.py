"""What native.TokenSampler draws, written the slow way from its definition, on numpy's own Philox."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


def block(key: Sequence[int], counter: Sequence[int]) -> list[int]:
    """numpy increments the counter before the first block."""
    total = sum(int(word) << 64 * place for place, word in enumerate(counter))
    generator = np.random.Philox(key=np.array(key, np.uint64), counter=(total - 1) % 2**256)
    return [int(word) for word in generator.random_raw(4)]


def permutation(key: Sequence[int], domain: int, epoch: int, n: int) -> list[int]:
    """The whole permutation, by tables: each round of the Feistel network moves all cells of its grid at once."""
    a = math.isqrt(n - 1) + 1
    b = -(-n // a)
    cells = np.arange(a * b, dtype=np.int64)
    for round_ in range(8):
        rows, columns = cells // b, cells % b
        if round_ % 2 == 0:
            shift = np.array([block(key, (epoch, c, round_, domain))[0] * a >> 64 for c in range(b)])
            rows = (rows + shift[columns]) % a
        else:
            shift = np.array([block(key, (epoch, r, round_, domain))[0] * b >> 64 for r in range(a)])
            columns = (columns + shift[rows]) % b
        cells = rows * b + columns
    places = []
    for index in range(n):
        cell = int(cells[index])
        while cell >= n:
            cell = int(cells[cell])
        places.append(cell)
    return places


@dataclass
class Reference:
    """Lists of (frames, weights); samples are 320 times frames."""

    lists: list[tuple[list[int], list[float]]]
    seed: int
    stream: int
    segment_frames: int
    ratio: float
    by: str = "weight"
    replacement: bool = True
    shares: list[float] | None = None

    def draw(self, first: int, count: int) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield (epoch, index, list, track, start)."""
        self.orders: dict[tuple[int, int, int], list[int]] = {}
        total = sum(len(frames) for frames, _ in self.lists)
        for sample in range(first, first + count):
            epoch, index = divmod(sample, total)
            words = block((self.seed, self.stream), (epoch, index, 0, 0))
            number, ordinal = self._place(sample)
            members = range(len(self.lists)) if self.shares is None else [number]
            tracks = [(i, j) for i in members for j in range(len(self.lists[i][0]))]
            where = self._choose(tracks, words[0], number, ordinal)
            frames = self.lists[where[0]][0][where[1]]
            last = max(0, frames - math.ceil(self.segment_frames * self.ratio - 1e-9))
            yield epoch, index, *where, words[1] * (last + 1) >> 64

    def _choose(self, tracks: list[tuple[int, int]], word: int, number: int, ordinal: int) -> tuple[int, int]:
        if not self.replacement:
            turn, index = divmod(ordinal, len(tracks))
            return tracks[self._order(2 + number, turn, len(tracks))[index]]
        weights = np.array([self.lists[i][1][j] for i, j in tracks])
        if self.by == "track" or (self.by == "weight" and len(set(weights)) == 1):
            return tracks[word * len(tracks) >> 64]
        if self.by == "duration":
            weights = weights * [self.lists[i][0][j] * 320 for i, j in tracks]
        sums = np.cumsum(weights)
        return tracks[int(np.searchsorted(sums, (word >> 11) * 2.0**-53 * sums[-1], side="right"))]

    def _place(self, sample: int) -> tuple[int, int]:
        if self.shares is None:
            return 0, sample
        turn, at = divmod(sample, 10_000)
        slot = self._order(1, turn, 10_000)[at]
        counts = np.round(np.array(self.shares) / sum(self.shares) * 10_000).astype(int)  # the tests' shares are exact
        ends = np.cumsum(counts)
        number = int(np.searchsorted(ends, slot, side="right"))
        return number, int(turn * counts[number] + slot - (ends[number] - counts[number]))

    def _order(self, domain: int, turn: int, n: int) -> list[int]:
        name = (domain, turn, n)
        if name not in self.orders:
            self.orders[name] = permutation((self.seed, self.stream), domain, turn, n)
        return self.orders[name]
