"""Conditioning on recordings: what a conditioner is given of a track's audio, in training and in generation.

In training a sample's recording is the audio of exactly the segment that its codes come from (AudioCraft's `self_wav`);
in generation it is any file.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from musicgen_core.conditioners.base import Conditioner


@dataclass(frozen=True, eq=False)
class Recording:
    """A piece of audio to follow."""

    wav_CN: np.ndarray
    """float32, any number of channels; they are averaged."""

    sample_rate_hz: int

    num_valid: int | None = None
    """Samples that are music: what comes after them pads a segment at the end of its track. None: all."""

    def __post_init__(self) -> None:
        if self.wav_CN.ndim != 2 or self.wav_CN.shape[1] == 0:
            raise ValueError(f"a recording is [channels, samples > 0], got {list(self.wav_CN.shape)}")

    @property
    def num_music(self) -> int:
        """Samples that are music."""
        return self.wav_CN.shape[1] if self.num_valid is None else self.num_valid


class AudioConditioner(Conditioner):
    """Conditions on recordings: `prepare` takes them, or what `take` has made of them before."""

    num_draws: int = 0
    """Uniforms that `take` needs for each sample in training."""

    takes_text: bool = False
    """Whether `prepare` takes texts as well: in generation, the caption stands in for a recording that is not given."""

    prompt_key: str = "melody"
    """Key of a prompt that names the file this condition hears; config/prompt.py."""

    def find_fault(self, recording: Recording) -> str | None:
        """Why nothing can be heard in a recording, and the remedy; goes on from the name of its file."""
        return None

    @abstractmethod
    def take(self, recording: Recording, draws: Sequence[float] | None = None) -> Any:
        """What a sample keeps of its segment's audio: small, on the CPU, made in the loader's thread, and a value that
        `prepare` takes.

        `draws`, uniforms in [0, 1), are the sample's own in training; None takes the same part at any time, as
        validation and generation need it.
        """
