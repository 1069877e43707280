"""A prompt of more than words."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """What one sample is generated from. What is left out is absent, as in training when it is dropped."""

    text: str | None = None
    """The caption."""

    melody: str | None = None
    """Path of an audio file of any format and rate to follow, for a model that is conditioned on recordings."""

    melody_start_sec: float = 0.0
    """Where in that file the melody begins."""

    conditions: dict[str, str | float] = field(default_factory=dict)
    """Values of the model's other conditions, such as {key: a minor, bpm: 84}."""
