"""Words about a track: AudioCraft's rules, and the caption made of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicgen_core.data.metadata import combine, compose_caption, parse_sidecar, parse_text, read_music
from musicgen_core.data.records import MUSIC_FIELDS, Music

# AudioCraft's own example sidecar has these keys; the right column is what its MusicInfo makes of them
AUDIOCRAFT = [
    ("title", " Café Noir ", "Café Noir"),
    ("artist", "None", None),
    ("key", " A Minor ", "a minor"),
    ("key", "C, G", None),
    ("bpm", "120", 120.0),
    ("bpm", "fast", None),
    ("genre", "Jazz ", "jazz"),
    ("moods", "Calm, warm  Late", ["calm", "warm", "late"]),
    ("moods", ["Calm ", "Late Night"], ["calm", "late night"]),
    ("keywords", "pop metal", ["pop", "metal"]),
    ("description", "", None),
    ("name", "Big Band", "big band"),
    ("instrument", "Mix", "mix"),
    ("title", [""], None),
    ("title", ["One", "", "Two"], "One, Two"),
]


@pytest.mark.parametrize(("name", "written", "read"), AUDIOCRAFT)
def test_fields_are_normalised_as_audiocraft_does(name: str, written: object, read: object) -> None:
    assert read_music({name: written}).get(name) == read


@pytest.mark.parametrize(("written", "read"), [(2, 2.0), ("0.5", 0.5), (0, 0.0), ("", None), (None, None)])
def test_a_weight_is_a_number(written: object, read: float | None) -> None:
    assert read_music({"Weight": written}).get("weight") == read


@pytest.mark.parametrize("written", ["often", -1, "nan", "inf", [1]])
def test_a_weight_that_is_none_is_an_error(written: object) -> None:
    with pytest.raises(ValueError, match="weight: expected a number of 0 or more, found"):
        read_music({"weight": written})


def test_synonyms_count_only_where_the_name_says_nothing() -> None:
    assert read_music({"Caption": "a", "TEMPO": 90}) == {"description": "a", "bpm": 90.0}
    assert read_music({"caption": "a", "description": "b"}) == {"description": "b"}
    assert read_music({"caption": "a", "description": " "}) == {"description": "a"}


def test_bpm_that_is_no_number_is_nothing() -> None:
    assert read_music({"bpm": "nan"}) == {}


def test_broken_sidecars_say_where() -> None:
    with pytest.raises(ValueError, match="line 2: not JSON"):
        parse_sidecar('{"title": "a",\n oops}')
    with pytest.raises(ValueError, match="expected a JSON object, found list"):
        parse_sidecar("[]")
    with pytest.raises(ValueError, match="title: expected text or a number, found dict"):
        parse_sidecar('{"title": {}}')


def test_text_becomes_one_line() -> None:
    assert parse_text("slow\n  piano \n") == {"description": "slow piano"}
    assert parse_text(" \n") == {}


def test_first_source_wins_per_field() -> None:
    music = combine([{"genre": "jazz"}, {"genre": "pop", "bpm": 100.0}, {"license": "CC0-1.0"}])
    assert (music.genre, music.bpm, music.license) == ("jazz", 100.0, "CC0-1.0")


def test_caption_is_the_description_or_composed_without_the_title() -> None:
    music = Music(title="Secret", genre="jazz", moods=["calm", "warm"], bpm=120.0, key="a minor")
    assert compose_caption(music) == "genre: jazz. moods: calm, warm. key: a minor. bpm: 120"
    assert compose_caption(Music(description="slow piano", genre="jazz")) == "slow piano"
    assert compose_caption(Music(title="Secret", artist="Someone")) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(MUSIC_FIELDS) | st.text(max_size=6), json_values, max_size=6))
def test_any_object_is_read_or_refused_and_reading_is_idempotent(fields: dict[str, object]) -> None:
    try:
        music = parse_sidecar(json.dumps(fields))
    except ValueError:
        return
    assert set(music) <= set(MUSIC_FIELDS)
    assert read_music(music) == music
