"""Which segments a run trains on."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How segments are drawn. What comes n-th depends on the seed and n alone, on no number of processes or threads."""

    by: Literal["track", "weight", "duration"] = "weight"
    """A track's chance: `track`, the same for all; `weight`, its weight in the manifest; `duration`, its weight times
    its length (AudioCraft's sample_on_weight with sample_on_duration)."""

    replacement: bool = True
    """false: every track once before any comes again, in a new order for each pass. Only with `by: track`."""

    mix: dict[str, float] | None = None
    """Share of the segments that each of the run's corpora gets, such as {a: 0.7, b: 0.3}, in any unit; 0 leaves a
    corpus out. Exact over every 10,000 segments. null: all corpora are one set of tracks."""


def check_sampling(sampling: SamplingConfig, corpora: Sequence[str]) -> None:
    """Raise ValueError, one line that begins with the key, unless the parts fit each other and the run's corpora."""
    if not sampling.replacement and sampling.by != "track":
        raise ValueError(f"by: {sampling.by} needs replacement: true; without it every track comes equally often")
    if sampling.mix is not None:
        normalise_mix(sampling.mix, corpora)


def normalise_mix(mix: dict[str, float], corpora: Sequence[str]) -> dict[str, float]:
    """Scale the shares to a sum of 1, in the order of `corpora`.

    Raises ValueError for a corpus that is not there (with the nearest name) or has no share, and for shares that are
    negative or all 0.
    """
    for name, share in mix.items():
        if name not in corpora:
            near = difflib.get_close_matches(name, corpora, n=1, cutoff=0.0)[0]
            raise ValueError(f"mix: unknown corpus `{name}`; did you mean `{near}`?")
        if not 0 <= share < float("inf"):
            raise ValueError(f"mix.{name}: {share} must be 0 or more")
    for name in corpora:
        if name not in mix:
            raise ValueError(f"mix: no share for corpus `{name}`; give it one (0 leaves it out)")
    total = sum(mix.values())
    if total <= 0:
        raise ValueError(f"mix: the shares sum to {total}; at least one must be above 0")
    return {name: mix[name] / total for name in corpora}
