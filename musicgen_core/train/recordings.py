"""The audio of training segments, for models that are conditioned on recordings.

It joins the lines of a batch under the condition's name, beside the fields of the manifest; so dropout treats it as it
treats any other condition.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from musicgen_core import native
from musicgen_core.conditioners.recording import AudioConditioner, Recording
from musicgen_core.conditioners.rows import kept_conditions
from musicgen_core.conditioners.style import StyleExcerpt
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.data.batches import Batch
from musicgen_core.data.track_audio import TrackAudio
from musicgen_core.lm.model import LanguageModel
from musicgen_core.util.streams import RECORDINGS


class Recordings:
    """Reads what the model's audio conditioners take of each segment. Both methods give a new batch."""

    def __init__(self, audio: TrackAudio, model: LanguageModel, config: TrainStageConfig) -> None:
        self.audio, self.config = audio, config
        self.conditioners: dict[str, AudioConditioner] = {
            name: item for name, item in model.conditioners.items() if isinstance(item, AudioConditioner)
        }
        self._fixed: dict[tuple[str, int], dict[str, Any]] = {}

    def add_to_training(self, batch: Batch) -> Batch:
        """Only where dropout leaves the condition: what is dropped anyway is neither read nor decoded.

        A function of (seed, epoch, index) of each sample.
        """
        conditions = {name: self.config.model.conditions[name] for name in self.conditioners}
        kept = kept_conditions(
            conditions, self.config.training.cfg_dropout, self.config.seed, batch.epochs_B, batch.indexes_B
        )
        num_draws = max(conditioner.num_draws for conditioner in self.conditioners.values())
        return self._hide_excerpts(self._add(batch, kept, self._draw(batch, num_draws)))

    def add_to_validation(self, batch: Batch) -> Batch:
        """All of them; validation segments are fixed, so what was taken of one is kept."""
        new = [
            (line["track"], start) not in self._fixed
            for line, start in zip(batch.lines, batch.starts_B.tolist(), strict=True)
        ]
        filled = self._add(batch, dict.fromkeys(self.conditioners, np.array(new)), None)
        lines = []
        for line, start in zip(filled.lines, batch.starts_B.tolist(), strict=True):
            taken = {name: line[name] for name in self.conditioners if name in line}
            lines.append({**line, **self._fixed.setdefault((line["track"], start), taken)})
        return self._hide_excerpts(dataclasses.replace(batch, lines=lines))

    def _hide_excerpts(self, batch: Batch) -> Batch:
        """Take the frames that a style was heard in out of the loss."""
        excerpts = [
            (row, value)
            for row, line in enumerate(batch.lines)
            for value in (line.get(name) for name in self.conditioners)
            if isinstance(value, StyleExcerpt) and value.hidden_span_sec is not None
        ]
        if not excerpts:
            return batch
        mask_BT = batch.mask_BT.clone()
        for row, excerpt in excerpts:
            mask_BT[row, excerpt.hidden_frames(self.audio.codec.frame_rate_hz)] = False
        return dataclasses.replace(batch, mask_BT=mask_BT)

    def _add(self, batch: Batch, wanted: Mapping[str, np.ndarray], draws_BD: np.ndarray | None) -> Batch:
        rows = np.flatnonzero(np.any(list(wanted.values()), axis=0)).tolist()
        lines = list(batch.lines)
        if rows:
            wav_BCN, num_valid_B = self.audio.read(
                [lines[row] for row in rows], batch.starts_B[rows], batch.codes_BKT.shape[2]
            )
        for number, row in enumerate(rows):
            recording = Recording(wav_BCN[number], self.audio.codec.sample_rate_hz, int(num_valid_B[number]))
            draws = None if draws_BD is None else draws_BD[row].tolist()
            taken = {
                name: conditioner.take(recording, draws)
                for name, conditioner in self.conditioners.items()
                if wanted[name][row]
            }
            lines[row] = {**lines[row], **taken}
        return dataclasses.replace(batch, lines=lines)

    def _draw(self, batch: Batch, num_draws: int) -> np.ndarray:
        """Uniforms in [0, 1), float64 [B, draws]."""
        draws_BD = np.empty((len(batch.lines), num_draws))
        for epoch in np.unique(batch.epochs_B).tolist():
            here = batch.epochs_B == epoch
            for draw in range(num_draws):
                draws_BD[here, draw] = native.uniform(self.config.seed, RECORDINGS, epoch, batch.indexes_B[here], draw)
        return draws_BD
