"""A style and some dice -> a piece: which notes, when, on which instruments."""

from __future__ import annotations

from dataclasses import dataclass

from musicgen_core.tools.dice import Dice
from musicgen_core.tools.styles import MAJOR, MINOR, STEPS_PER_BEAT, Steps, Style
from musicgen_core.tools.voices import DrumName

LOOP_BARS = 2
KEYS = {"C": 48, "D": 50, "G": 55, "A": 57}
"""Tonics in use, as MIDI notes of the octave in which chords are voiced. Few, so that a small corpus covers them."""


@dataclass(frozen=True)
class Note:
    """One note of a loop."""

    start_step: int
    num_steps: int
    midi: int


@dataclass(frozen=True)
class Part:
    """An instrument and the notes it plays in every loop."""

    role: str
    instrument: str
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Piece:
    """A loop of two bars, played `num_bars / 2` times."""

    style: Style
    tonic: str
    num_bars: int
    parts: tuple[Part, ...]
    drums: dict[DrumName, Steps]
    """Steps within one bar."""

    @property
    def step_sec(self) -> float:
        return 60.0 / self.style.bpm / STEPS_PER_BEAT

    @property
    def bar_steps(self) -> int:
        return self.style.beats_per_bar * STEPS_PER_BEAT

    @property
    def duration_sec(self) -> float:
        return self.num_bars * self.bar_steps * self.step_sec

    @property
    def key(self) -> str:
        return f"{self.tonic} {self.style.mode}"

    @property
    def instruments(self) -> tuple[str, ...]:
        return (("drums",) if self.drums else ()) + tuple(part.instrument for part in self.parts)


def compose(style: Style, dice: Dice) -> Piece:
    """Draw key, length, progression, patterns and melody of one piece."""
    tonic = dice.pick(sorted(KEYS))
    degrees = dice.pick(style.progressions)
    parts = [
        Part("bass", style.bass, _bass(style, tonic, degrees, dice.pick(style.bass_steps))),
        Part("chords", style.chords, _chords(style, tonic, degrees, dice.pick(style.chord_steps))),
    ]
    if dice.chance(style.lead_chance):
        lead = _lead(style, tonic, degrees, dice.pick(style.lead_steps), dice)
        parts.append(Part("lead", dice.pick(style.leads), lead))
    return Piece(
        style=style,
        tonic=tonic,
        num_bars=dice.pick(style.num_bars),
        parts=tuple(parts),
        drums=dice.pick(style.drums) if style.drums else {},
    )


def _pitch(style: Style, tonic: str, degree: int) -> int:
    """MIDI note of a scale degree; degrees beyond 6 are in higher octaves."""
    scale = MAJOR if style.mode == "major" else MINOR
    octave, index = divmod(degree, len(scale))
    return KEYS[tonic] + 12 * octave + scale[index]


def _bass(style: Style, tonic: str, degrees: tuple[int, int], steps: Steps) -> tuple[Note, ...]:
    bar_steps = style.beats_per_bar * STEPS_PER_BEAT
    notes = []
    for bar, degree in enumerate(degrees):
        for number, step in enumerate(steps):
            raised = style.bass_octaves and number % 2 == 1
            midi = _pitch(style, tonic, degree) - (0 if raised else 12)
            notes.append(Note(bar * bar_steps + step, style.bass_length, midi))
    return tuple(notes)


def _chords(style: Style, tonic: str, degrees: tuple[int, int], steps: Steps) -> tuple[Note, ...]:
    bar_steps = style.beats_per_bar * STEPS_PER_BEAT
    intervals = (0, 4, 7) if style.fifths_only else (0, 2, 4)
    return tuple(
        Note(bar * bar_steps + step, style.chord_length, _pitch(style, tonic, degree + interval))
        for bar, degree in enumerate(degrees)
        for step in steps
        for interval in intervals
    )


def _lead(style: Style, tonic: str, degrees: tuple[int, int], steps: Steps, dice: Dice) -> tuple[Note, ...]:
    """A motif of chord tones, an octave up, that follows the chord of each bar."""
    bar_steps = style.beats_per_bar * STEPS_PER_BEAT
    motif = [dice.pick((0, 2, 4, 7)) for _ in steps]
    return tuple(
        Note(bar * bar_steps + step, style.lead_length, _pitch(style, tonic, degree + tone) + 12)
        for bar, degree in enumerate(degrees)
        for step, tone in zip(steps, motif, strict=True)
    )
