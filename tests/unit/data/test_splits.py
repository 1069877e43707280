"""Splits and buckets are pure functions of (group, salt)."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from musicgen_core.data.records import Music
from musicgen_core.data.splits import assign_splits, find_bucket, find_group, hash_unit

groups = st.sets(st.text(min_size=1, max_size=8), min_size=3, max_size=60)


def place(group: str, salt: str) -> str:
    """Where a group belongs by its hash alone, at 20 % and 20 %."""
    unit = hash_unit(group, f"split:{salt}")
    return "evaluate" if unit < 0.2 else "valid" if unit < 0.4 else "train"


@given(groups, st.sets(st.text(min_size=1, max_size=8)), st.text(max_size=3))
def test_adding_groups_moves_no_other(before: set[str], added: set[str], salt: str) -> None:
    places = {group: place(group, salt) for group in before}
    assume(set(places.values()) == {"train", "valid", "evaluate"})
    assert assign_splits(before, salt, 0.2, 0.2) == places
    after = assign_splits(before | added, salt, 0.2, 0.2)
    assert {group: after[group] for group in before} == places


@given(st.sets(st.text(min_size=1, max_size=8), min_size=3, max_size=6))
def test_small_corpora_promote_the_groups_nearest_by_hash(names: set[str]) -> None:
    splits = assign_splits(names, "0", 0.001, 0.001)
    ordered = sorted(names, key=lambda group: hash_unit(group, "split:0"))
    assert [splits[group] for group in ordered[:3]] == ["evaluate", "valid", "train"]


@given(groups, st.floats(0.01, 0.45), st.floats(0.01, 0.45))
def test_every_split_has_a_group(names: set[str], valid: float, evaluate: float) -> None:
    splits = assign_splits(names, "0", valid, evaluate)
    assert set(splits) == names
    assert set(splits.values()) == {"train", "valid", "evaluate"}


def test_order_does_not_matter_and_salt_does() -> None:
    names = [f"artist:{i}" for i in range(100)]
    assert assign_splits(names, "0", 0.1, 0.1) == assign_splits(names[::-1], "0", 0.1, 0.1)
    assert assign_splits(names, "0", 0.1, 0.1) != assign_splits(names, "1", 0.1, 0.1)


def test_shares_are_met() -> None:
    splits = list(assign_splits([str(i) for i in range(20000)], "0", 0.1, 0.05).values())
    assert abs(splits.count("valid") / 20000 - 0.1) < 0.01
    assert abs(splits.count("evaluate") / 20000 - 0.05) < 0.01


def test_too_few_groups_say_how_many_and_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"2 group\(s\).*at least 3.*group_by: track"):
        assign_splits(["a", "b", "a"], "0", 0.1, 0.1)


@given(st.text(), st.integers(1, 5000))
def test_bucket_names_carry_the_count(group: str, num_buckets: int) -> None:
    number, count = find_bucket(group, num_buckets).split("-of-")
    assert 0 <= int(number) < int(count) == num_buckets
    assert len(number) == len(count) == 5


def test_groups() -> None:
    music = Music(artist="The  Band", album="One")
    assert find_group("k", music, "artist") == find_group("l", Music(artist="the band"), "artist")
    assert find_group("k", music, "album") != find_group("k", Music(artist="Others", album="One"), "album")
    assert find_group("k", music, "track") == find_group("k", Music(), "artist") == "track:k"


def test_frozen_values() -> None:
    """These decide which tracks of everyone's corpora are held out: they may never change."""
    assert find_bucket("artist:the band", 64) == "00051-of-00064"
    assert assign_splits(list("abcd"), "0", 0.1, 0.1) == {
        "a": "evaluate",
        "d": "evaluate",
        "c": "valid",
        "b": "train",
    }
