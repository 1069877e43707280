"""A key that a config class gets does not change the signatures of runs that were made without it."""

import copy

import config_keys
from config_keys import Keys, find_faults, find_unrecorded

OLD: Keys = {"ModelConfig": {"always": ["dim", "size"], "later": {"tied": False}}}


def test_no_key_changes_the_signature_of_a_run_that_exists() -> None:
    old, new = config_keys.read_record(), config_keys.collect()
    assert not find_faults(old, new), "\n" + "\n".join(find_faults(old, new))
    assert not find_unrecorded(old, new), "these keys came or went; say so in CHANGELOG.md, and record it: make digests"


def test_what_would_change_one_is_named() -> None:
    new = copy.deepcopy(OLD)
    new["ModelConfig"]["later"]["bias"] = True
    new["OtherConfig"] = {"always": ["kind"], "later": {}}
    assert find_faults(OLD, new) == [], "a key that says what was done before; a class of its own"
    assert find_unrecorded(OLD, new) == ["ModelConfig.bias", "OtherConfig.kind"]
    new["ModelConfig"] = {"always": ["dim", "size", "rope", "tied"], "later": {}}
    assert find_faults(OLD, new) == [
        "ModelConfig.rope is new: field(default=..., metadata=added(before=...)) says what runs did without it",
        "ModelConfig.tied has lost its metadata",
    ]
    new["ModelConfig"] = {"always": ["size"], "later": {"dim": 8, "tied": True}}
    assert find_faults(OLD, new) == [
        "ModelConfig.dim was always in the signature; it cannot leave it",
        "ModelConfig.tied says True was done before, and said False: put that back",
    ]


def test_the_classes_of_all_stages_are_looked_at() -> None:
    names = {cls.__name__ for cls in config_keys.config_classes()}
    assert {"TrainingConfig", "WordsConfig", "LionConfig", "CorpusConfig", "GenerationConfig", "CodecSpec"} <= names
