"""Splits and buckets are pure functions of (group, salt)."""

from collections.abc import Collection

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from musicgen_core.data import splits as module
from musicgen_core.data.records import Music
from musicgen_core.data.splits import find_bucket, find_group, hash_unit, place_group

groups = st.sets(st.text(min_size=1, max_size=8), min_size=3, max_size=60)


def assign_splits(names: Collection[str], salt: str, valid: float, evaluate: float) -> dict[str, str]:
    return module.assign_splits(names, salt, valid, evaluate).by_group


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


@given(groups, st.lists(st.tuples(st.booleans(), st.text(min_size=1, max_size=8)), max_size=30), st.text(max_size=3))
def test_over_any_history_only_a_borrowed_group_ever_moves(
    start: set[str], history: list[tuple[bool, str]], salt: str
) -> None:
    """A group is borrowed where a split would be empty by hash; when a group of its own comes, it goes back."""
    now = set(start)
    before = assign_splits(now, salt, 0.2, 0.2)
    for added, group in history:
        now = now | {group} if added else now - {group}
        if len(now) < 3:
            return
        after = assign_splits(now, salt, 0.2, 0.2)
        for name in before.keys() & after.keys():
            if before[name] != after[name]:
                assert before[name] != place(name, salt) or after[name] != place(name, salt)
        assert set(after.values()) == {"train", "valid", "evaluate"}
        before = after
    assert before == assign_splits(sorted(now, reverse=True), salt, 0.2, 0.2), "a history leaves no trace"


@given(
    st.lists(st.tuples(st.sampled_from("ABCDE"), st.sampled_from("xyz"), st.integers(0, 9)), min_size=3, max_size=40),
    st.sampled_from(["artist", "album", "track"]),
    st.integers(1, 9),
)
def test_a_group_has_one_split_and_one_bucket(tracks: list[tuple[str, str, int]], by, num_buckets: int) -> None:
    keys = [(find_group(f"{n}{i}", Music(artist=a, album=b), by), a, b) for i, (a, b, n) in enumerate(tracks)]
    assume(len({group for group, _, _ in keys}) >= 3)
    splits = assign_splits({group for group, _, _ in keys}, "0", 0.1, 0.1)
    same = {"artist": lambda a, b: a, "album": lambda a, b: (a, b)}.get(by)
    if same is not None:
        for wanted in {same(a, b) for _, a, b in keys}:
            found = {(splits[g], find_bucket(g, num_buckets)) for g, a, b in keys if same(a, b) == wanted}
            assert len(found) == 1


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
    nameless = Music(album="one")
    assert find_group("k", nameless, "artist") == find_group("l", Music(album=" One"), "artist") != "track:k"


def test_frozen_values() -> None:
    """These decide which tracks of everyone's corpora are held out: they may never change."""
    assert find_bucket("artist:the band", 64) == "00051-of-00064"
    assert assign_splits(list("abcd"), "0", 0.1, 0.1) == {
        "a": "evaluate",
        "d": "evaluate",
        "c": "valid",
        "b": "train",
    }


@given(groups, st.data(), st.text(max_size=3))
def test_while_some_are_spare_each_group_is_placed_by_itself(names: set[str], data: st.DataObject, salt: str) -> None:
    splits, spare = module.assign_splits(names, salt, 0.2, 0.2)
    assert (spare > 0) == (splits == {group: place_group(group, salt, 0.2, 0.2) for group in names})
    gone = data.draw(st.sets(st.sampled_from(sorted(names)), max_size=max(spare - 1, 0)))
    if spare:
        after = module.assign_splits(names - gone, salt, 0.2, 0.2)
        assert after.by_group == {group: place_group(group, salt, 0.2, 0.2) for group in names - gone}
        assert after.spare >= spare - len(gone)
