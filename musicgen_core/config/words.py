"""What happens to a track's words while a model trains on them."""

from __future__ import annotations

from dataclasses import dataclass, field

from musicgen_core.config.plain import added


@dataclass(frozen=True, kw_only=True)
class WordsConfig:
    """Augmentation of captions, drawn for each sample from (seed, epoch, index). AudioCraft's names in brackets."""

    merge_metadata: float = 0.0
    """Probability that key, bpm, genre, moods, instrument and keywords are written behind the caption; above 0 every
    caption ends in one full stop (merge_text_p; MusicGen: 0.25)."""

    keep_field: float = 0.5
    """Probability that such a field is among them (drop_other_p, which is a probability to keep)."""

    drop_caption: float = 0.5
    """Probability that the caption is left out where metadata is merged (drop_desc_p)."""

    drop_word: float = 0.0
    """Probability that a word is left out (word_dropout; MusicGen: 0.3, its large and melody models 0.2)."""

    dropout: float = field(default=0.0, metadata=added(before=0.0))
    """Probability, per sample, that the words alone are dropped and other conditions stay (attribute_dropout
    text.description; MusicGen-Style: 0.4). `training.cfg_dropout` drops everything."""
