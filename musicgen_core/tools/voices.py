"""Single sounds: a note of a pitched instrument, a hit of a drum. float32, mono, at any sample rate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from musicgen_core.tools.dice import Dice

DrumName = Literal["kick", "snare", "hat", "open hat", "clap", "rim"]

_TABLE_SIZE = 4096
_HIGHEST_HZ = 7000.0  # harmonics above are left out: neither the tiny codec (16 kHz) nor the ear misses them


@dataclass(frozen=True, kw_only=True)
class Timbre:
    """A pitched instrument: harmonics that dull while the note sounds, under a simple envelope."""

    harmonics: tuple[float, ...]
    """Amplitude of partial 1, 2, 3, ..."""

    attack_sec: float = 0.005
    decay_sec: float | None = None
    """Time constant of the decay; None: the note is held."""

    release_sec: float = 0.05
    detune_cents: float = 0.0
    """Distance of a second, detuned copy; 0: none."""

    drive: float = 0.0
    """Gain into a tanh, for distortion; 0: clean."""


def _series(kind: Literal["saw", "square"], count: int, slope: float = 1.0) -> tuple[float, ...]:
    """Harmonic amplitudes 1 / h^slope, all (saw) or odd ones (square)."""
    return tuple(0.0 if kind == "square" and h % 2 == 0 else h**-slope for h in range(1, count + 1))


TIMBRES: dict[str, Timbre] = {
    "saw bass": Timbre(harmonics=_series("saw", 14, 1.1), decay_sec=0.25),
    "sub bass": Timbre(harmonics=(1.0, 0.25, 0.06), attack_sec=0.01),
    "round bass": Timbre(harmonics=(1.0, 0.5, 0.2, 0.08), decay_sec=0.5),
    "picked bass": Timbre(harmonics=_series("saw", 10, 1.4), decay_sec=0.6),
    "pulse bass": Timbre(harmonics=_series("square", 15), release_sec=0.01),
    "synth stabs": Timbre(harmonics=_series("saw", 16), decay_sec=0.15, detune_cents=12.0),
    "warm pad": Timbre(harmonics=_series("saw", 10, 1.6), attack_sec=0.35, release_sec=0.6, detune_cents=9.0),
    "distorted guitar": Timbre(harmonics=_series("saw", 12, 1.2), decay_sec=1.5, drive=4.0),
    "piano": Timbre(harmonics=_series("saw", 10, 1.5), decay_sec=0.7, release_sec=0.15),
    "electric piano": Timbre(harmonics=(1.0, 0.15, 0.3, 0.05, 0.0, 0.0, 0.12), decay_sec=0.9, release_sec=0.1),
    "muted guitar": Timbre(harmonics=_series("saw", 12, 1.2), decay_sec=0.06),
    "pulse chords": Timbre(harmonics=_series("square", 15), decay_sec=0.2, release_sec=0.01),
    "square lead": Timbre(harmonics=_series("square", 15, 1.2), decay_sec=0.8),
    "saw lead": Timbre(harmonics=_series("saw", 16, 1.1), attack_sec=0.02, detune_cents=7.0),
    "accordion": Timbre(harmonics=(0.8, 1.0, 0.5, 0.6, 0.3, 0.2), attack_sec=0.03, detune_cents=10.0),
    "bells": Timbre(harmonics=(1.0, 0.0, 0.6, 0.0, 0.0, 0.35, 0.0, 0.0, 0.2), decay_sec=1.2, release_sec=0.6),
    "flute": Timbre(harmonics=(1.0, 0.35, 0.08), attack_sec=0.05),
    "organ": Timbre(harmonics=(1.0, 0.7, 0.4, 0.3, 0.0, 0.2), attack_sec=0.01),
}


@lru_cache(maxsize=1024)
def render_note(name: str, midi: int, duration_sec: float, rate_hz: int) -> np.ndarray:
    """A note of TIMBRES[name], float32 [N], with its release after `duration_sec`; peak about 1."""
    timbre = TIMBRES[name]
    freq_hz = 440.0 * 2.0 ** ((midi - 69) / 12)
    num_samples = round((duration_sec + timbre.release_sec) * rate_hz)
    time_sec = np.arange(num_samples, dtype=np.float64) / rate_hz
    fade = np.exp(-time_sec / (timbre.decay_sec or 1e9)).astype(np.float32)
    wav = _oscillate(timbre, freq_hz, time_sec, fade)
    if timbre.detune_cents:
        wav = 0.5 * (wav + _oscillate(timbre, freq_hz * 2.0 ** (timbre.detune_cents / 1200), time_sec, fade))
    if timbre.drive:
        wav = np.tanh(timbre.drive * wav)
    attack = np.minimum(1.0, time_sec / timbre.attack_sec)
    release = np.clip((duration_sec + timbre.release_sec - time_sec) / timbre.release_sec, 0.0, 1.0)
    return (wav * fade * attack * release).astype(np.float32)


def _oscillate(timbre: Timbre, freq_hz: float, time_sec: np.ndarray, fade: np.ndarray) -> np.ndarray:
    """Crossfade from the full spectrum to a duller one while the note decays."""
    count = max(1, min(len(timbre.harmonics), int(_HIGHEST_HZ / freq_hz)))
    bright, dull = _wave_table(timbre.harmonics[:count], 0.0), _wave_table(timbre.harmonics[:count], 1.0)
    position = (time_sec * (freq_hz * _TABLE_SIZE)).astype(np.int64) & (_TABLE_SIZE - 1)
    return dull[position] + fade * (bright[position] - dull[position])


@lru_cache(maxsize=256)
def _wave_table(harmonics: tuple[float, ...], dullness: float) -> np.ndarray:
    """One period, float32 [4096], peak 1; partial h is weakened by h^dullness."""
    phase = np.arange(_TABLE_SIZE) * (2.0 * np.pi / _TABLE_SIZE)
    wave = np.zeros(_TABLE_SIZE)
    for number, amplitude in enumerate(harmonics, 1):
        wave += amplitude * number**-dullness * np.sin(number * phase)
    return (wave / np.abs(wave).max()).astype(np.float32)


@lru_cache(maxsize=64)
def render_drum(name: DrumName, rate_hz: int, weight: float) -> np.ndarray:
    """One hit, float32 [N], peak about 1; `weight` above 1 is lower and longer. A drum sounds the same at every hit."""
    num_samples = round(0.45 * rate_hz)
    t = np.arange(num_samples) / rate_hz
    noise = Dice(0, 1_000_000).noise(num_samples)
    hiss = np.diff(noise, prepend=0.0)  # first difference: a high-pass
    if name == "kick":
        pitch_hz = (48.0 + 130.0 * np.exp(-t * 32.0)) / weight
        wav = np.sin(2.0 * np.pi * np.cumsum(pitch_hz) / rate_hz) * np.exp(-t * 9.0 / weight)
    elif name == "snare":
        body = np.sin(2.0 * np.pi * 185.0 / weight * t) * np.exp(-t * 22.0)
        wav = 0.5 * body + 0.5 * noise * np.exp(-t * 17.0 / weight)
    elif name == "clap":
        bursts = sum(np.exp(-np.maximum(t - d, 0.0) * 90.0) * (t >= d) for d in (0.0, 0.012, 0.024))
        wav = 0.25 * hiss * bursts + 0.3 * hiss * np.exp(-t * 20.0 / weight)
    elif name == "rim":
        wav = 0.7 * np.sin(2.0 * np.pi * 820.0 / weight * t) * np.exp(-t * 60.0)
    else:
        wav = 0.4 * np.diff(hiss, prepend=0.0) * np.exp(-t * (11.0 if name == "open hat" else 60.0) / weight)
    tail = np.clip((t[-1] - t) / 0.05, 0.0, 1.0)
    return (wav * tail).astype(np.float32)
