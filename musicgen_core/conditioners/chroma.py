"""Melody as chroma: the loudest of twelve pitch classes in each frame, projected (arXiv 2306.05284, section 2.3).

Legend: B batch, N samples, F frequencies, L frames of chroma, P pitch classes (12, the first is C).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musicgen_core import native
from musicgen_core.conditioners.base import Condition, Prepared
from musicgen_core.conditioners.recording import AudioConditioner, Recording
from musicgen_core.conditioners.separate import DemucsSeparator, Separator
from musicgen_core.config.condition import ChromaConditionConfig

NUM_CHROMA = 12


@dataclass(frozen=True, eq=False)
class SegmentChroma:
    """Chroma of a segment in training: positions behind it are padding, not a repetition."""

    chroma_LP: Tensor
    """float32 [L, 12], L at least 1."""


class ChromaConditioner(AudioConditioner):
    """Recordings, or chroma computed before, to a prefix of `num_frames` positions.

    `separate`, when set, is called with each recording first and returns what of it counts as melody, such as vocals
    and other instruments without bass and drums (AudioCraft uses demucs' stems `vocals` and `other`).
    """

    def __init__(self, config: ChromaConditionConfig, output_dim: int) -> None:
        if config.num_frames < 1:
            raise ValueError(f"a chroma condition of num_frames {config.num_frames}: needs at least 1 (235: 30 s)")
        super().__init__(NUM_CHROMA, output_dim, config.num_frames)
        self.config = config
        self.null_length = config.num_frames
        self.null_is_zeros = config.absent == "null"
        self.separate: Separator | None = None if config.separate is None else DemucsSeparator(config.separate)

    def prepare(self, values: Sequence[Any]) -> Prepared:
        """Recording, or its chroma [L, 12] from `extract`, or what `take` gave; None: none.

        Cut, or repeated, to `num_frames` frames; what `take` gave is padded instead.
        """
        if self.config.absent == "silence":
            values = [_silence() if value is None else value for value in values]
        features_BLP = torch.zeros(len(values), self.config.num_frames, NUM_CHROMA)
        mask_BL = torch.zeros(len(values), self.config.num_frames, dtype=torch.bool)
        for row, value in enumerate(values):
            if value is None:
                continue
            if isinstance(value, SegmentChroma):
                chroma_LP = value.chroma_LP[: self.config.num_frames]
                features_BLP[row, : len(chroma_LP)] = chroma_LP
                mask_BL[row, : len(chroma_LP)] = True
                continue
            chroma_LP = self.extract(value) if isinstance(value, Recording) else _check_chroma(value)
            index_L = torch.arange(self.config.num_frames) % len(chroma_LP)
            features_BLP[row] = chroma_LP[index_L]
            mask_BL[row] = True
        return Prepared(mask_BL.long(), mask_BL, features_BLP)

    def extract(self, recording: Recording) -> Tensor:
        """Chroma float32 [L, 12] of a recording, to be kept and given in its place."""
        if self.separate is not None:
            recording = self.separate(recording)
        return compute_chroma(recording, self.config)

    def take(self, recording: Recording, draws: Sequence[float] | None = None) -> SegmentChroma:
        """Chroma of a segment up to its last frame of music, as AudioCraft trains (`match_len_on_eval` off)."""
        chroma_LP = self.extract(recording)
        num_valid = recording.wav_CN.shape[1] if recording.num_valid is None else recording.num_valid
        num_valid = num_valid * self.config.sample_rate_hz // recording.sample_rate_hz
        hop = 2**self.config.radix2_exp // 4
        return SegmentChroma(chroma_LP[: max(1, -(-num_valid // hop))])

    def null(self, batch: int) -> Condition:
        if self.null_is_zeros:
            return super().null(batch)
        return self(self.prepare([None] * batch).to(self.output_proj.weight.device))

    def encode(self, prepared: Prepared) -> Tensor:
        assert prepared.features_BLE is not None
        return prepared.features_BLE


def _silence() -> Tensor:
    """Chroma of silence: no class is louder than the first."""
    return torch.eye(NUM_CHROMA)[:1]


def compute_chroma(recording: Recording, config: ChromaConditionConfig) -> Tensor:
    """float32 [L, 12], L = 1 + samples // hop; recordings shorter than a window are padded to one on both sides.

    Power spectrum in centred Hann windows, summed by `chroma_filters`, divided by the frame's maximum; with `argmax` 1
    at the loudest class and 0 elsewhere. As AudioCraft's ChromaExtractor, transformers' MusicgenMelodyFeatureExtractor.
    """
    wav_CN = np.ascontiguousarray(recording.wav_CN, dtype=np.float32)
    if recording.sample_rate_hz != config.sample_rate_hz:
        wav_CN = native.resample(wav_CN, recording.sample_rate_hz, config.sample_rate_hz)
    wav_N = torch.from_numpy(wav_CN).mean(0)
    window = 2**config.radix2_exp
    if (missing := window - len(wav_N)) > 0:
        wav_N = torch.nn.functional.pad(wav_N, (missing // 2, missing - missing // 2))
    hann = torch.hann_window(window)
    spectrum_FL = torch.stft(wav_N, window, window // 4, window=hann, return_complex=True).abs().square()
    chroma_PL = chroma_filters(config.sample_rate_hz, window) @ (spectrum_FL / hann.square().sum())
    chroma_PL = chroma_PL / chroma_PL.abs().amax(0, keepdim=True).clamp_min(1e-6)
    if config.argmax:
        chroma_PL = torch.zeros_like(chroma_PL).scatter_(0, chroma_PL.argmax(0, keepdim=True), 1.0)
    return chroma_PL.T.contiguous()


@lru_cache(maxsize=4)
def chroma_filters(sample_rate_hz: int, window: int) -> Tensor:
    """float32 [12, F]: how much of each frequency belongs to each pitch class, A = 440 Hz, the first class is C.

    The bank of librosa's `filters.chroma` (D. Ellis, "Chroma feature analysis and synthesis", 2007): a Gaussian around
    each pitch class as wide as the spacing of bins there (at least one semitone), each frequency scaled to unit length,
    and the whole weighted by a Gaussian of two octaves around the fifth octave.
    """
    frequency_F = np.arange(1, window) * sample_rate_hz / window
    semitone_F = NUM_CHROMA * np.log2(frequency_F / (440.0 / 16))
    semitone_F = np.concatenate([[semitone_F[0] - 1.5 * NUM_CHROMA], semitone_F])  # 0 Hz, far below the first
    width_F = np.append(np.maximum(np.diff(semitone_F), 1.0), 1.0)
    half = NUM_CHROMA // 2
    distance_PF = semitone_F[None] - np.arange(NUM_CHROMA)[:, None]
    distance_PF = np.remainder(distance_PF + half + 10 * NUM_CHROMA, NUM_CHROMA) - half
    weights_PF = np.exp(-0.5 * (2 * distance_PF / width_F) ** 2)
    weights_PF /= np.linalg.norm(weights_PF, axis=0, keepdims=True)
    weights_PF *= np.exp(-0.5 * ((semitone_F / NUM_CHROMA - 5.0) / 2.0) ** 2)
    weights_PF = np.roll(weights_PF, -3, axis=0)  # from A first to C first
    return torch.from_numpy(weights_PF[:, : window // 2 + 1].astype(np.float32))


def _check_chroma(value: Any) -> Tensor:
    chroma_LP = torch.as_tensor(value, dtype=torch.float32)
    if chroma_LP.ndim != 2 or chroma_LP.shape[1] != NUM_CHROMA or len(chroma_LP) == 0:
        raise ValueError(f"chroma is [frames > 0, {NUM_CHROMA}], got {list(chroma_LP.shape)}")
    return chroma_LP
