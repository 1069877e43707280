"""One measured figure: its value never travels without its unit and the number of samples behind it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure as metrics.json holds it."""

    value: float | list[float] | None
    """null where it could not be measured; `note` says why."""

    unit: str
    samples: dict[str, int] = field(default_factory=dict)
    """What was counted, such as {"segments": 64, "tracks": 5, "tokens": 38000}."""

    interval_95: tuple[float, float] | None = None
    """Bootstrap interval over tracks; null where one track or none was measured."""

    note: str | None = None
    """How to read it, or why it is missing."""

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None or key == "value"}


def missing(unit: str, note: str) -> Figure:
    """A figure that could not be measured, and why."""
    return Figure(value=None, unit=unit, note=note)
