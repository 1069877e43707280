"""A change of a stage's code without a new version is noticed: its old results would be taken for new ones."""

import copy
import json
from pathlib import Path

import pytest
import stage_code
from stage_code import find_forgotten, normalise_native, normalise_python, stage_modules


def test_no_version_bump_is_forgotten() -> None:
    forgotten = find_forgotten(json.loads(stage_code.RECORD.read_text()), stage_code.record())
    assert not forgotten, (
        "code below these stages changed and their versions did not:\n  "
        + "\n  ".join(forgotten)
        + "\nIf a stage's results can differ, raise its version in STAGES (musicgen_core/stages/__init__.py). "
        "Then, or if they cannot, record the code: make digests"
    )


def test_a_stage_knows_what_is_below_it() -> None:
    modules = stage_modules("tokenize")
    assert {"musicgen_core.stages.tokenize", "musicgen_core.codec.base", "musicgen_core.native"} <= set(modules)
    assert "musicgen_core.train.loop" not in modules
    assert "musicgen_core.train.loop" in stage_modules("train"), "imports inside functions count"


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ('"""Other words."""\n# a comment\ndef f(x:int)->int :\n    """Doc."""\n    return x+1\n', True),
        ("def f(x: int) -> int:\n    return x + 2\n", False),
    ],
)
def test_only_the_syntax_of_python_counts(change: str, same: bool) -> None:
    text = "def f(x: int) -> int:\n    return x + 1\n"
    assert (normalise_python(text) == normalise_python(change)) == same


def test_comments_of_the_extension_do_not_count() -> None:
    assert normalise_native("fn f() { 1 } // one\n/* two\n */") == normalise_native("fn f()\n{ 1 }")
    assert normalise_native("fn f() { 1 }") != normalise_native("fn f() { 2 }")


def test_a_bump_is_asked_of_the_stages_above_the_change_alone() -> None:
    old = stage_code.record()
    changed = copy.deepcopy(old)
    changed["code"]["musicgen_core/codec/base.py"] = "0" * 32
    lines = find_forgotten(old, changed)
    assert [line.split(",")[0] for line in lines] == ["tokenize", "generate", "evaluate"]
    assert lines[0] == "tokenize, version 1: musicgen_core/codec/base.py"
    for stage in ("tokenize", "generate", "evaluate"):
        changed["stages"][stage]["version"] += 1
    assert find_forgotten(old, changed) == []
    changed["code"]["rust_loader/src/decode.rs"] = "0" * 32
    assert "resample" in {line.split(",")[0] for line in find_forgotten(old, changed)}


def test_the_record_names_files_that_exist() -> None:
    files = json.loads(stage_code.RECORD.read_text())["code"]
    assert [name for name in files if not Path(stage_code.ROOT / name).is_file()] == []
