"""The demo corpus's genres: what each one's parts play, on which steps, with which sounds.

Tempi are such that a step in use lasts a whole number of 20 ms frames (at 50 Hz), so that what repeats in the music
repeats in the tokens too. A small model then learns the rhythm within minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from musicgen_core.tools.voices import DrumName

STEPS_PER_BEAT = 4
MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)

Steps = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Style:
    """One genre. Steps are sixteenths within a bar; degrees count from 0 within the scale."""

    genre: str
    bpm: int
    beats_per_bar: int = 4
    mode: str
    num_bars: tuple[int, ...]
    """Possible lengths; even, since a loop has two bars."""

    progressions: tuple[tuple[int, int], ...]
    """Degree of the chord of each of the loop's two bars."""

    drums: tuple[dict[DrumName, Steps], ...] = ()
    """Alternative patterns; empty: the genre has no drums."""

    drum_weight: float = 1.0
    bass_steps: tuple[Steps, ...]
    bass_length: int
    bass_octaves: bool = False
    """Every second bass note is an octave higher."""

    bass: str
    chord_steps: tuple[Steps, ...]
    chord_length: int
    chords: str
    fifths_only: bool = False
    """Power chords: root, fifth and octave."""

    lead_steps: tuple[Steps, ...]
    lead_length: int
    leads: tuple[str, ...]
    lead_chance: float = 0.7
    moods: tuple[str, ...]
    levels: dict[str, float] = field(default_factory=lambda: {"drums": 0.8, "bass": 0.5, "chords": 0.22, "lead": 0.3})


STYLES: tuple[Style, ...] = (
    Style(
        genre="techno",
        bpm=125,
        mode="minor",
        num_bars=(6, 8),
        progressions=((0, 0), (0, 5)),
        drums=(
            {"kick": (0, 4, 8, 12), "open hat": (2, 6, 10, 14)},
            {"kick": (0, 4, 8, 12), "open hat": (2, 6, 10, 14), "clap": (4, 12)},
        ),
        bass_steps=((2, 3, 6, 7, 10, 11, 14, 15), (2, 6, 10, 14)),
        bass_length=1,
        bass="saw bass",
        chord_steps=((3, 6, 11, 14), (0, 3, 6, 10)),
        chord_length=1,
        chords="synth stabs",
        lead_steps=((0, 6, 8, 14),),
        lead_length=2,
        leads=("square lead",),
        moods=("driving", "hypnotic"),
    ),
    Style(
        genre="ambient",
        bpm=60,
        mode="major",
        num_bars=(2, 4),
        progressions=((0, 3), (0, 4)),
        bass_steps=((0,),),
        bass_length=16,
        bass="sub bass",
        chord_steps=((0,),),
        chord_length=16,
        chords="warm pad",
        lead_steps=((0, 4, 8, 12), (0, 8)),
        lead_length=4,
        leads=("bells", "flute"),
        lead_chance=0.8,
        moods=("calm", "dreamy"),
        levels={"drums": 0.0, "bass": 0.35, "chords": 0.3, "lead": 0.25},
    ),
    Style(
        genre="rock",
        bpm=100,
        mode="minor",
        num_bars=(4, 6),
        progressions=((0, 5), (0, 3)),
        drums=(
            {"kick": (0, 8), "snare": (4, 12), "hat": (0, 2, 4, 6, 8, 10, 12, 14)},
            {"kick": (0, 6, 8), "snare": (4, 12), "hat": (0, 4, 8, 12)},
        ),
        drum_weight=1.15,
        bass_steps=((0, 2, 4, 6, 8, 10, 12, 14),),
        bass_length=2,
        bass="picked bass",
        chord_steps=((0, 2, 4, 6, 8, 10, 12, 14), (0, 8)),
        chord_length=2,
        chords="distorted guitar",
        fifths_only=True,
        lead_steps=((0, 4, 6, 8, 12),),
        lead_length=4,
        leads=("saw lead", "organ"),
        lead_chance=0.6,
        moods=("energetic", "heavy"),
    ),
    Style(
        genre="waltz",
        bpm=150,
        beats_per_bar=3,
        mode="major",
        num_bars=(8, 12),
        progressions=((0, 4), (0, 3)),
        bass_steps=((0,),),
        bass_length=4,
        bass="round bass",
        chord_steps=((4, 8),),
        chord_length=3,
        chords="piano",
        lead_steps=((0, 4, 8), (0, 8)),
        lead_length=4,
        leads=("accordion", "flute"),
        lead_chance=0.9,
        moods=("graceful", "nostalgic"),
    ),
    Style(
        genre="hip-hop",
        bpm=100,
        mode="minor",
        num_bars=(4, 6),
        progressions=((0, 3), (0, 5)),
        drums=(
            {"kick": (0, 6, 10), "snare": (4, 12), "hat": (0, 2, 4, 6, 8, 10, 12, 14)},
            {"kick": (0, 10), "snare": (4, 12), "hat": (0, 4, 8, 12)},
        ),
        drum_weight=1.4,
        bass_steps=((0, 6, 10), (0, 10)),
        bass_length=4,
        bass="sub bass",
        chord_steps=((0, 8), (2, 10)),
        chord_length=6,
        chords="electric piano",
        lead_steps=((4, 6, 12),),
        lead_length=2,
        leads=("bells",),
        lead_chance=0.4,
        moods=("laid-back", "mellow"),
    ),
    Style(
        genre="reggae",
        bpm=75,
        mode="major",
        num_bars=(4,),
        progressions=((0, 3), (0, 4)),
        drums=(
            {"kick": (8,), "rim": (8,), "hat": (0, 2, 4, 6, 8, 10, 12, 14)},
            {"kick": (0, 8), "rim": (4, 12), "hat": (2, 6, 10, 14)},
        ),
        bass_steps=((0, 6, 8, 14), (0, 3, 6, 12)),
        bass_length=2,
        bass="round bass",
        chord_steps=((2, 6, 10, 14),),
        chord_length=1,
        chords="muted guitar",
        lead_steps=((0, 4, 6, 12),),
        lead_length=3,
        leads=("organ", "flute"),
        lead_chance=0.5,
        moods=("relaxed", "sunny"),
    ),
    Style(
        genre="chiptune",
        bpm=150,
        mode="major",
        num_bars=(6, 8),
        progressions=((0, 4), (0, 5)),
        drums=({"kick": (0, 8), "hat": (4, 12)}, {"hat": (0, 4, 8, 12)}),
        drum_weight=0.7,
        bass_steps=((0, 2, 4, 6, 8, 10, 12, 14),),
        bass_length=1,
        bass_octaves=True,
        bass="pulse bass",
        chord_steps=((0, 4, 8, 12),),
        chord_length=2,
        chords="pulse chords",
        lead_steps=((0, 2, 4, 6, 8, 10, 12, 14), (0, 3, 6, 8, 11, 14)),
        lead_length=1,
        leads=("square lead",),
        lead_chance=1.0,
        moods=("playful", "bright"),
        levels={"drums": 0.6, "bass": 0.35, "chords": 0.15, "lead": 0.3},
    ),
    Style(
        genre="drum and bass",
        bpm=150,
        mode="minor",
        num_bars=(6, 8),
        progressions=((0, 0), (0, 5)),
        drums=(
            {"kick": (0, 10), "snare": (4, 12), "hat": (0, 2, 4, 6, 8, 10, 12, 14)},
            {"kick": (0, 2, 10), "snare": (4, 12), "hat": (2, 6, 10, 14)},
        ),
        bass_steps=((0, 6, 10), (0, 8)),
        bass_length=6,
        bass="saw bass",
        chord_steps=((0,),),
        chord_length=16,
        chords="warm pad",
        lead_steps=((0, 6, 12),),
        lead_length=3,
        leads=("saw lead", "bells"),
        lead_chance=0.4,
        moods=("urgent", "dark"),
        levels={"drums": 0.85, "bass": 0.45, "chords": 0.25, "lead": 0.25},
    ),
)
