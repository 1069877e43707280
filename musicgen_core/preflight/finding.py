"""What a check found: one line for the eye, with figures for the record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The verdict of one check."""

    check: str
    """Its short name, such as `codebooks`."""

    level: Level
    """`problem`: a training would be wasted, or teach something wrong. `warning`: look at it."""

    text: str
    """What was found, with the figures; of a fault, its name."""

    remedy: str = ""
    """What to do about it; empty where nothing is to be done."""

    figures: dict[str, Any] = field(default_factory=dict)

    def to_line(self) -> str:
        return f"{self.level:<8} {self.check}: {self.text}" + (f"; {self.remedy}" if self.remedy else "")

    def to_json(self) -> dict[str, Any]:
        """Numbers that JSON has no way to write (infinite, or none) become null."""
        return {**asdict(self), "figures": _finite(self.figures)}


def name_some(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
