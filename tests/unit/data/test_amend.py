"""An amended plan equals, byte for byte, what a scan of all files writes: over random histories of a folder."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from musicgen_core import native
from musicgen_core.config.data import CorpusConfig, DataConfig
from musicgen_core.config.root import ScanStageConfig
from musicgen_core.data import inventory
from musicgen_core.data.plan import Plan
from musicgen_core.stages import scan as stage

NUM_TRACKS = 40
WRITTEN = ("inventory.jsonl", "notes.jsonl", "metadata.jsonl")


def make_clip(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, 1600).astype(np.float32), 8000)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tracks with words and artists, two copies, a broken sidecar, a short file, and files that are no music."""
    music = tmp_path_factory.mktemp("amend") / "music"
    music.mkdir()
    for number in range(NUM_TRACKS):
        make_clip(music / f"{number:02d}.wav", number)
        words = {"artist": f"artist {number // 2}", "description": f"noise {number}", "license": "CC0-1.0"}
        (music / f"{number:02d}.json").write_text(json.dumps(words))
    shutil.copy(music / "03.wav", music / "copy.wav")
    (music / "05.json").write_text("{")
    soundfile.write(music / "short.wav", np.zeros(10), 8000)
    (music / "empty.wav").touch()
    (music / "session.als").write_text("x")
    (music / "notes.md").write_text("x")
    return music


def plan(music: Path, results: Path, captions: tuple[str, ...] = ("json", "txt")) -> Plan:
    data = DataConfig(min_duration_sec=0.1, valid_fraction=0.25, evaluate_fraction=0.25, split_salt="2")
    config = CorpusConfig(path=str(music), captions=captions, num_buckets=8, licenses=("CC0-1.0",))
    return stage.run(ScanStageConfig(corpora={"mine": config}, data=data), results=results)


def read(results: Path) -> dict[str, bytes]:
    folder = results / "plan/mine"
    paths = [
        *(folder / name for name in WRITTEN),
        *sorted(folder.glob("buckets/*")),
        *sorted(folder.glob("locations/*")),
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def assert_equals_a_scan(
    music: Path, results: Path, planned: Plan, captions: tuple[str, ...] = ("json", "txt")
) -> None:
    anew = results.with_name("anew")
    assert planned == plan(music, anew, captions)
    assert read(results) == read(anew)
    former, fresh = (json.loads((folder / "plan/mine/snapshot.json").read_text()) for folder in (results, anew))
    assert former["lines"] == [line.replace(str(anew), str(results)) for line in fresh["lines"]]
    assert former["aside"] == fresh["aside"]
    assert former["spare"] <= fresh["spare"]
    shutil.rmtree(anew)


numbers = st.integers(0, NUM_TRACKS + 3).map("{:02d}".format)
edits = st.one_of(
    st.tuples(st.sampled_from(["touch", "remove", "unword", "break", "license", "short", "empty", "ignored"]), numbers),
    st.tuples(st.just("clip"), numbers, st.integers(0, NUM_TRACKS + 9)),
    st.tuples(st.just("artist"), numbers, st.integers(0, 30)),
    st.tuples(st.sampled_from(["rename", "copy"]), numbers, st.sampled_from(["new", "x/new", "ñ 'new'", "00"])),
)


def apply(music: Path, what: str, name: str, *more: Any) -> None:
    clip, words = music / f"{name}.wav", music / f"{name}.json"
    if what == "touch":
        clip.touch()
    elif what == "remove":
        clip.unlink(missing_ok=True)
    elif what == "unword":
        words.unlink(missing_ok=True)
    elif what in ("break", "license", "artist"):
        known = {"license": ["none"], "artist": ["CC0-1.0", f"artist {more[0] if more else 0}"]}.get(what)
        value = dict(zip(("license", "artist"), known, strict=False)) if known else None
        words.write_text("{" if value is None else json.dumps({**value, "description": "other words"}))
    elif what == "short":
        soundfile.write(clip, np.zeros(20), 8000)
    elif what == "empty":
        clip.write_bytes(b"")
    elif what == "ignored":
        (music / f"{name}.als").write_text("x")
    elif what == "clip":
        make_clip(clip, more[0])
    elif clip.exists():
        (music / more[0]).parent.mkdir(exist_ok=True)
        (clip.rename if what == "rename" else lambda to: shutil.copy(clip, to))(music / f"{more[0]}.wav")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(edits, min_size=1, max_size=2), min_size=1, max_size=4))
def test_over_any_history_an_amended_plan_is_that_of_a_scan(corpus: Path, history: list[list[Any]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        music, results = Path(scratch) / "music", Path(scratch) / "results"
        shutil.copytree(corpus, music)
        plan(music, results)
        for step in history:
            for edit in step:
                apply(music, *edit)
            assert_equals_a_scan(music, results, plan(music, results))


@pytest.fixture
def project(corpus: Path, tmp_path: Path) -> tuple[Path, Path]:
    shutil.copytree(corpus, tmp_path / "music")
    plan(tmp_path / "music", tmp_path / "results")
    return tmp_path / "music", tmp_path / "results"


def refuse(*_: Any) -> None:
    pytest.fail("all files were scanned")


@pytest.mark.parametrize(
    "edit",
    [
        lambda music: (music / "07.wav").touch(),
        lambda music: (music / "07.wav").unlink(),
        lambda music: make_clip(music / "new.wav", 99),
        lambda music: make_clip(music / "07.wav", 99),
        lambda music: (music / "07.wav").rename(music / "other.wav"),
        lambda music: (music / "07.json").write_text('{"description": "other", "license": "CC0-1.0"}'),
        lambda music: (music / "05.json").write_text('{"description": "mended", "license": "CC0-1.0"}'),
        lambda music: (music / "07.txt").write_text("x"),
        lambda music: (music / "notes.md").write_text("y"),
        lambda music: (music / "session.als").unlink(),
    ],
    ids=["touched", "removed", "added", "changed", "renamed", "words", "mended", "second words", "no music", "ignored"],
)
def test_a_small_change_is_amended(
    project: tuple[Path, Path], edit: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    music, results = project
    edit(music)
    with monkeypatch.context() as patched:
        patched.setattr(stage, "take_inventory", refuse)
        planned = plan(music, results)
    assert_equals_a_scan(music, results, planned)


def test_with_a_table_only_a_change_that_moves_no_row_is_amended(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    music, results, captions = tmp_path / "music", tmp_path / "results", ("captions.csv", "json")
    shutil.copytree(corpus, music)
    rows = [f"{number:02d}.wav,row {number}" for number in range(0, NUM_TRACKS, 2)]
    (music / "captions.csv").write_text("\n".join(["file,description", *rows, "99.wav,nobody"]))
    plan(music, results, captions)
    with monkeypatch.context() as patched:
        patched.setattr(stage, "take_inventory", refuse)
        (music / "06.wav").touch()
        (music / "notes.md").write_text("z")
        assert_with_table = plan(music, results, captions)
    assert_equals_a_scan(music, results, assert_with_table, captions)
    (music / "x").mkdir()
    shutil.copy(music / "07.wav", music / "x/06.wav")
    make_clip(music / "x/06.wav", 77)  # the row of 06.wav fits by whole path still; that of 99.wav may fit now
    make_clip(music / "99.wav", 78)
    (music / "07.json").unlink()
    assert_equals_a_scan(music, results, plan(music, results, captions), captions)


def test_only_files_that_changed_are_read(
    project: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    music, results = project
    read: list[str] = []
    hash_files = native.hash_files
    monkeypatch.setattr(native, "hash_files", lambda paths: read.extend(p.name for p in paths) or hash_files(paths))
    assert plan(music, results) == plan(music, results)
    assert read == []
    capsys.readouterr()
    (music / "07.wav").touch()
    make_clip(music / "new.wav", 99)
    plan(music, results)
    assert sorted(read) == ["07.wav", "new.wav"]
    assert "plan: reading new files of mine: 2 done in " in capsys.readouterr().err  # a bar in a terminal
    read.clear()
    for path in music.glob("0*.wav"):
        path.touch()
    plan(music, results)
    assert sorted(read) == [f"{number:02d}.wav" for number in range(10)], "many changes are no amendment"


def test_a_first_plan_that_is_broken_off_keeps_what_it_read(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    hash_files = native.hash_files

    def read_some(paths: list[Path]) -> list[tuple[str | None, str | None]]:
        if len(read) == 16:
            raise KeyboardInterrupt
        read.extend(path.name for path in paths)
        return hash_files(paths)

    monkeypatch.setattr(inventory, "CHUNK_FILES", 8)
    monkeypatch.setattr(native, "hash_files", read_some)
    with pytest.raises(KeyboardInterrupt):
        plan(corpus, tmp_path / "results")
    broken_off = set(read)
    monkeypatch.setattr(native, "hash_files", lambda paths: read.extend(p.name for p in paths) or hash_files(paths))
    plan(corpus, tmp_path / "results")
    assert len(read) == len(set(read)), "a file was read twice"
    assert len(broken_off) == 16


def test_a_plan_whose_list_was_damaged_is_made_anew(project: tuple[Path, Path]) -> None:
    music, results = project
    for damaged in ("files.list", "cache.jsonl"):
        (results / "plan/mine" / damaged).write_bytes(b"1 2")
        (music / "07.wav").touch()
        assert_equals_a_scan(music, results, plan(music, results))
