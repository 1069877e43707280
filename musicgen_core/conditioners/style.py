"""Style: what a short excerpt sounds like, without its notes (MusicGen-Style, arXiv 2407.12563).

Excerpt -> frozen features (75 Hz) -> projection, transformer encoder -> normalisation -> residual quantiser, of which
only the first few levels speak -> every 15th frame (5 Hz) -> projection.

As AudioCraft's StyleConditioner, but for this: length, place and number of levels are drawn for each sample from
(seed, epoch, index), and not once per batch; a condition always takes as many positions as the longest excerpt has (a
shorter one is followed by zeros), so that no sample depends on those beside it; normalisation and codebooks move once
per step, by all processes together; samples without a style teach neither.

Legend: B batch, N samples, T frames, L positions, E width of the features, D width of the encoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from musicgen_core import native
from musicgen_core.conditioners.base import Condition, Prepared
from musicgen_core.conditioners.encoder import Encoder
from musicgen_core.conditioners.extractor import Extractor, build_extractor
from musicgen_core.conditioners.quantizer import ResidualQuantizer
from musicgen_core.conditioners.recording import AudioConditioner, Recording
from musicgen_core.conditioners.running_norm import RunningNorm
from musicgen_core.config.condition import StyleConditionConfig

SILENT_PEAK = 1e-4
"""-80 dB of full scale: an excerpt that never gets louder has no style."""


@dataclass(frozen=True, eq=False)
class StyleExcerpt:
    """What a sample keeps of its segment."""

    features_TE: Tensor
    """float32, at least one frame."""

    num_levels: int
    """Of the quantiser, that speak."""

    hidden_span_sec: tuple[float, float] | None
    """Where in the recording it was taken, when codes of there are to be left out of the loss."""

    def hidden_frames(self, frame_rate_hz: float) -> slice:
        """Frames of codes that overlap with it."""
        start_sec, end_sec = self.hidden_span_sec or (0.0, 0.0)
        return slice(math.floor(start_sec * frame_rate_hz), math.ceil(end_sec * frame_rate_hz))


class StyleConditioner(AudioConditioner):
    """Recordings, or what `take` made of them, to `null_length` positions."""

    num_draws = 3
    prompt_key = "style"

    def __init__(self, config: StyleConditionConfig, output_dim: int) -> None:
        super().__init__(config.dim, output_dim, max_length=0)
        self.config = config
        self.extractor: Extractor = build_extractor(config.extractor)
        self.num_frames = self.extractor.count_frames(round(config.max_sec * self.extractor.sample_rate_hz))
        if self.extractor.count_frames(round(config.min_sec * self.extractor.sample_rate_hz)) < 1:
            raise ValueError(
                f"a style condition's min_sec {config.min_sec:g} is too short for its extractor, which gives no frame "
                f"of features for {round(config.min_sec * self.extractor.sample_rate_hz)} samples; raise min_sec"
            )
        self.null_length = self.max_length = -(-self.num_frames // config.downsample)
        self.input_proj = nn.Linear(self.extractor.width, config.dim)
        self.encoder = Encoder(config.dim, config.num_heads, config.num_layers, config.encoder_dropout)
        self.norm = RunningNorm(config.dim)
        self.quantizer = ResidualQuantizer(config.dim, config.num_levels, config.num_entries)

    def find_fault(self, recording: Recording) -> str | None:
        num_valid, rate_hz = recording.num_music, recording.sample_rate_hz
        if num_valid < round(self.config.min_sec * rate_hz):
            return (
                f"lasts {num_valid / rate_hz:.2f} s, but a style needs {self.config.min_sec:g} s "
                "(min_sec of the training); give a longer one"
            )
        if self._cut(recording, None)[0] is None:
            return (
                f"is silent in its middle {self.config.eval_sec:g} s, from where the style is taken; give another, or "
                "choose the part by style_start_sec"
            )
        return None

    def take(self, recording: Recording, draws: Sequence[float] | None = None) -> StyleExcerpt | None:
        """None, which is no style, of less than `min_sec` of music, and of silence."""
        wav_CN, span = self._cut(recording, draws)
        if wav_CN is None:
            return None
        rate_hz = self.extractor.sample_rate_hz
        if wav_CN.shape[0] != 1:
            wav_CN = native.mix(wav_CN, 1)
        if recording.sample_rate_hz != rate_hz:
            wav_CN = native.resample(wav_CN, recording.sample_rate_hz, rate_hz)
        features_TE = self.extractor(torch.from_numpy(wav_CN[0]))[: self.num_frames]
        levels = self.config.eval_levels if draws is None else 1 + int(draws[2] * self.config.num_levels)
        return StyleExcerpt(features_TE, levels, span if self.config.mask_excerpt else None)

    def _cut(
        self, recording: Recording, draws: Sequence[float] | None
    ) -> tuple[np.ndarray | None, tuple[float, float]]:
        """The excerpt float32 [C, N], None if there is none to hear, and where it lies in seconds."""
        config, rate_hz, num_valid = self.config, recording.sample_rate_hz, recording.num_music
        length_sec = config.eval_sec if draws is None else config.min_sec + draws[0] * (config.max_sec - config.min_sec)
        length = min(round(length_sec * rate_hz), num_valid)
        start = (num_valid - length) // 2 if draws is None else int(draws[1] * (num_valid - length + 1))
        wav_CN = np.ascontiguousarray(recording.wav_CN[:, start : start + length], dtype=np.float32)
        heard = num_valid >= round(config.min_sec * rate_hz) and np.abs(wav_CN).max(initial=0.0) >= SILENT_PEAK
        return (wav_CN if heard else None), (start / rate_hz, (start + length) / rate_hz)

    def prepare(self, values: Sequence[Any]) -> Prepared:
        """Recordings, excerpts from `take`, or None; `ids_BL` is how many levels of the quantiser speak in a frame."""
        features_BTE = torch.zeros(len(values), self.num_frames, self.extractor.width)
        levels_BT = torch.zeros(len(values), self.num_frames, dtype=torch.int64)
        for row, value in enumerate(values):
            excerpt = self.take(value) if isinstance(value, Recording) else value
            if excerpt is not None:
                count = len(excerpt.features_TE)
                features_BTE[row, :count] = excerpt.features_TE
                levels_BT[row, :count] = excerpt.num_levels
        return Prepared(levels_BT, levels_BT > 0, features_BTE)

    def encode(self, prepared: Prepared) -> Tensor:
        """float32 [B, L, D]."""
        assert prepared.features_BLE is not None
        mask_BT = prepared.mask_BL
        x_BTD = self.encoder(self.input_proj(prepared.features_BLE.to(self.input_proj.weight.dtype)), mask_BT)
        with torch.autocast(x_BTD.device.type, enabled=False):  # the nearest entry is not to be found by 8 bits
            x_BTD = self.norm(x_BTD, mask_BT)
            # before the normalisation has seen anything its output is none that codebooks could follow
            taught_BT = mask_BT if self.norm.is_ready() else torch.zeros_like(mask_BT)
            x_BTD = self.quantizer(x_BTD, taught_BT, prepared.ids_BL)
        return x_BTD[:, :: self.config.downsample]

    def forward(self, prepared: Prepared) -> Condition:
        mask_BL = prepared.mask_BL[:, :: self.config.downsample]
        embeddings_BLD = self.output_proj(self.encode(prepared).to(self.output_proj.weight.dtype))
        return Condition(embeddings_BLD.masked_fill(~mask_BL[..., None], 0), mask_BL)

    def learn(self, step: int, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        self.norm.learn(sum_over_processes)
        self.quantizer.learn(step, sum_over_processes)
