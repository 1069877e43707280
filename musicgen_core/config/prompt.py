"""A prompt of more than words."""

from __future__ import annotations

from dataclasses import dataclass, field

from musicgen_core.config.plain import added


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """What one sample is generated from. What is left out is absent, as in training when it is dropped."""

    text: str | None = None
    """The caption."""

    melody: str | None = None
    """Path of an audio file of any format and rate to follow, for a model with a condition of kind chroma or clap."""

    melody_start_sec: float = 0.0
    """Where in that file the melody begins."""

    style: str | None = field(default=None, metadata=added(before=None))
    """Path of an audio file to sound like, for a model with a condition of kind style."""

    style_start_sec: float = field(default=0.0, metadata=added(before=0.0))
    """Where in that file the music begins, of which the middle is taken."""

    conditions: dict[str, str | float] = field(default_factory=dict)
    """Values of the model's other conditions, such as {key: a minor, bpm: 84}."""

    @property
    def recordings(self) -> dict[str, tuple[str, float]]:
        """Key -> (path, where it begins in seconds) of the audio files that are given."""
        named = {"melody": (self.melody, self.melody_start_sec), "style": (self.style, self.style_start_sec)}
        return {key: (path, start_sec) for key, (path, start_sec) in named.items() if path is not None}
