"""Dropout and augmentation: per sample, from (seed, epoch, index) alone, with AudioCraft's meaning."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicgen_core.conditioners.augment import FIELDS, augment_captions, drop_words
from musicgen_core.conditioners.rows import plain_rows, training_rows
from musicgen_core.config.condition import AttributeConditionConfig, NumberConditionConfig
from musicgen_core.config.words import WordsConfig
from musicgen_core.data.records import MUSIC_FIELDS

TRACK = {
    "caption": "A cool song from Voyager.",
    "key": None,
    "bpm": None,
    "genre": "electronic",
    "moods": ["uplifting", "motivational"],
    "instrument": "mix",
    "keywords": ["bright", "pulsing", "cool"],
}
MUSICGEN = WordsConfig(merge_metadata=0.25, keep_field=0.5, drop_caption=0.5)
MANY = 20_000


def augment(config: WordsConfig, count: int = 300, track: dict[str, Any] = TRACK, seed: int = 1) -> list[str | None]:
    return augment_captions([track] * count, config, seed, 0, np.arange(count))


def test_nothing_is_changed_by_default() -> None:
    assert set(augment(WordsConfig())) == {TRACK["caption"]}


def test_everything_merged() -> None:
    """The reference's probe: caption, then the fields in any order, full stops between them."""
    texts = augment(WordsConfig(merge_metadata=1, keep_field=1, drop_caption=0))
    head = "A cool song from Voyager. "
    assert all(text is not None and text.startswith(head) for text in texts)
    pieces = {frozenset((text or "").removeprefix(head).split(". ")) for text in texts}
    assert pieces == {
        frozenset(
            [
                "moods: uplifting, motivational",
                "keywords: bright, pulsing, cool",
                "genre: electronic",
                "instrument: mix",
            ]
        )
    }
    assert len(set(texts)) == 24, "every order comes up"


def test_frequencies_are_audiocrafts() -> None:
    """20,000 draws of AudioCraft's own function: 75.3 % caption only, 11.8 % both, 12.1 % metadata only, 0.8 % none."""
    texts = augment(MUSICGEN, MANY)
    caption = TRACK["caption"]
    shares = [
        sum(text == caption for text in texts),
        sum(text is not None and text != caption and text.startswith("A cool") for text in texts),
        sum(text is not None and not text.startswith("A cool") for text in texts),
        sum(text is None for text in texts),
    ]
    np.testing.assert_allclose(np.array(shares) / MANY, [0.758, 0.117, 0.117, 0.008], atol=0.01)


def test_a_caption_ends_in_one_full_stop() -> None:
    config = WordsConfig(merge_metadata=0.25, drop_caption=0)
    assert set(augment(config, 50, {"caption": "no stop..."})) == {"no stop."}
    assert set(augment(config, 50, {"caption": None, "genre": None})) == {None}


def test_words_are_left_out() -> None:
    caption = "one two three four five"
    texts = [drop_words(caption, 0.3, 1, 0, index) for index in range(2000)]
    words = [word for text in texts for word in (text or "").split()]
    assert len(words) / 10_000 == pytest.approx(0.7, abs=0.02)
    assert all(
        list(filter((text or "").split().__contains__, caption.split())) == (text or "").split() for text in texts
    )
    assert drop_words(caption, 1.0, 1, 0, 0) is None
    assert drop_words(None, 0.3, 1, 0, 0) is None


CONDITIONS = {
    "key": AttributeConditionConfig(kind="attribute", dropout=0.4),
    "bpm": NumberConditionConfig(kind="number"),
}


PAIRS = [(True, True), (True, False), (False, True), (False, False)]


def make_rows(indexes: np.ndarray, order: tuple[str, ...] = ("key", "bpm"), epoch: int = 0) -> list[Any]:
    track = {"caption": "slow", "key": "a minor", "bpm": 90.0}
    epochs = np.full(len(indexes), epoch)
    conditions = {name: CONDITIONS[name] for name in order}
    return training_rows([track] * len(indexes), conditions, WordsConfig(), 0.2, 5, epochs, indexes)


def test_conditions_are_dropped_each_by_itself() -> None:
    rows = make_rows(np.arange(MANY))
    kept = [row for row in rows if row is not None]
    assert 1 - len(kept) / MANY == pytest.approx(0.2, abs=0.01)
    assert sum(row["key"] is None for row in kept) / len(kept) == pytest.approx(0.4, abs=0.015)
    assert all(row["bpm"] == 90.0 and row["description"] == "slow" for row in kept)


def make_styled(indexes: np.ndarray, words: WordsConfig, cfg_dropout: float = 0.1, epoch: int = 0) -> list[Any]:
    track = {"caption": "slow rock", "key": "a minor"}
    epochs = np.full(len(indexes), epoch)
    conditions = {"key": CONDITIONS["key"]}
    return training_rows([track] * len(indexes), conditions, words, cfg_dropout, 5, epochs, indexes)


def test_words_have_a_dropout_of_their_own() -> None:
    """MusicGen-Style: description 0.4, the recording 0.4, all 0.1."""
    rows = make_styled(np.arange(MANY), WordsConfig(dropout=0.4))
    kept = [(row or {"description": None, "key": None}).values() for row in rows]
    shares = {pair: sum((w is not None, k is not None) == pair for w, k in kept) / MANY for pair in PAIRS}
    assert shares == pytest.approx({(1, 1): 0.324, (1, 0): 0.216, (0, 1): 0.216, (0, 0): 0.244}, abs=0.01)


def test_dropped_words_move_no_other_draw() -> None:
    """So that a run without it is the run of before, and one with it differs in the words alone."""
    before, after = (make_styled(np.arange(500), WordsConfig(dropout=p)) for p in (0.0, 0.4))
    assert [row and row["key"] for row in before] == [row and row["key"] for row in after]
    assert all(row is None or row["description"] == "slow rock" for row in before)
    assert {row["description"] for row in after if row} == {"slow rock", None}
    assert after == [make_styled(np.array([index]), WordsConfig(dropout=0.4))[0] for index in range(500)]
    assert after != make_styled(np.arange(500), WordsConfig(dropout=0.4), epoch=1)
    assert {row["description"] for row in make_styled(np.arange(99), WordsConfig(dropout=1), 0.0)} == {None}


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=40))
def test_a_sample_is_a_function_of_its_number(indexes: list[int]) -> None:
    together = make_rows(np.asarray(indexes))
    assert together == [make_rows(np.asarray([index]))[0] for index in indexes]
    assert together == make_rows(np.asarray(indexes), ("bpm", "key"))


def test_epochs_differ_and_may_meet_in_a_batch() -> None:
    indexes = np.arange(500)
    assert make_rows(indexes) != make_rows(indexes, epoch=1)
    track = {"caption": "slow", "key": "a minor", "bpm": 90.0}
    epochs = np.array([3, 3, 4])
    mixed = training_rows([track] * 3, CONDITIONS, WordsConfig(), 0.2, 5, epochs, np.array([498, 499, 0]))
    assert mixed == make_rows(np.array([498, 499]), epoch=3) + make_rows(np.array([0]), epoch=4)


def test_validation_drops_nothing() -> None:
    rows = plain_rows([TRACK] * 50, {"genre": CONDITIONS["key"]})
    assert rows == [{"description": TRACK["caption"], "genre": "electronic"}] * 50


def test_fields_are_those_of_the_metadata() -> None:
    from musicgen_core.config.load import FIELDS as TRAINABLE

    assert set(FIELDS) <= set(TRAINABLE) <= set(MUSIC_FIELDS)
