"""A piece -> its waveform."""

from __future__ import annotations

import numpy as np

from musicgen_core.tools.composer import LOOP_BARS, Piece
from musicgen_core.tools.voices import render_drum, render_note

PEAK = 0.8
_PAN = {"drums": 0.5, "bass": 0.5, "chords": 0.3, "lead": 0.7}  # 0 left, 1 right


def render(piece: Piece, rate_hz: int, num_channels: int) -> np.ndarray:
    """float32 [C, N] with peak 0.8; N is whole bars. Mono is the sum of the parts, stereo pans chords and lead."""
    loop_samples = round(LOOP_BARS * piece.bar_steps * piece.step_sec * rate_hz)
    wav_CN = np.zeros((num_channels, round(piece.duration_sec * rate_hz)), dtype=np.float32)
    for role, loop_N in _render_loops(piece, rate_hz, loop_samples).items():
        gains_C = [1.0] if num_channels == 1 else [2.0 * (1.0 - _PAN[role]), 2.0 * _PAN[role]]
        for start in range(0, wav_CN.shape[1], loop_samples):
            count = min(len(loop_N), wav_CN.shape[1] - start)
            for channel, gain in enumerate(gains_C):
                wav_CN[channel, start : start + count] += gain * loop_N[:count]
    fade = min(wav_CN.shape[1], rate_hz // 50)
    wav_CN[:, -fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return wav_CN * (PEAK / np.abs(wav_CN).max())


def _render_loops(piece: Piece, rate_hz: int, loop_samples: int) -> dict[str, np.ndarray]:
    """One loop per role, with room for what rings on into the next one."""
    levels = piece.style.levels
    loops = {role: np.zeros(loop_samples + 2 * rate_hz, dtype=np.float32) for role in levels}
    for part in piece.parts:
        for note in part.notes:
            wav = render_note(part.instrument, note.midi, round(note.num_steps * piece.step_sec, 6), rate_hz)
            _add(loops[part.role], wav, note.start_step * piece.step_sec * rate_hz, levels[part.role])
    for name, steps in piece.drums.items():
        wav = render_drum(name, rate_hz, piece.style.drum_weight)
        for bar in range(LOOP_BARS):
            for step in steps:
                _add(loops["drums"], wav, (bar * piece.bar_steps + step) * piece.step_sec * rate_hz, levels["drums"])
    return loops


def _add(loop_N: np.ndarray, wav_N: np.ndarray, start: float, level: float) -> None:
    first = round(start)
    count = min(len(wav_N), len(loop_N) - first)
    loop_N[first : first + count] += level * wav_N[:count]
