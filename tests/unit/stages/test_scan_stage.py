"""The plan over a folder with every kind of good and bad file."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_music import make_corpus, make_tone

from musicgen_core.config.data import CorpusConfig, DataConfig
from musicgen_core.config.root import ScanStageConfig
from musicgen_core.data.plan import Plan, read_plan
from musicgen_core.stages import scan as stage
from musicgen_core.util.atomic import read_jsonl


@pytest.fixture
def music(tmp_path: Path) -> Path:
    make_corpus(tmp_path / "music", 6)
    return tmp_path / "music"


def plan(music: Path, data: DataConfig | None = None, **corpus: Any) -> Plan:
    corpora = {"mine": CorpusConfig(path=str(music), **corpus)}
    return stage.run(ScanStageConfig(corpora=corpora, data=data or DataConfig()), results=music.parent / "results")


def inventory(music: Path) -> dict[str, dict[str, Any]]:
    return {line["path"]: line for line in read_jsonl(music.parent / "results/plan/mine/inventory.jsonl")}


def metadata(music: Path) -> dict[str, dict[str, Any]]:
    return {line["path"]: line for line in read_jsonl(music.parent / "results/plan/mine/metadata.jsonl")}


def test_every_file_is_used_or_rejected_with_its_reason(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (music / "empty.wav").touch()
    (music / "renamed text.mp3").write_text("this is no music at all\n" * 100)
    shutil.copy(music / "piece 01.wav", music / "zz copy.wav")
    make_tone(music / "short.flac", 440, 0.2)
    make_tone(music / "long.ogg", 440, 4.0)
    make_tone(music / "broken words.wav", 450)
    (music / "broken words.json").write_text('{"title": "x",\n"license": oops}')
    make_tone(music / 'deep/er/it\'s «ñ» "q".flac', 460)
    (music / 'deep/er/it\'s «ñ» "q".txt').write_text("quoted")
    (music / "tape.wma").write_text("x")
    (music / "gone.wav").symlink_to("nowhere.wav")
    (music / "session.als").write_text("x")
    (music / "cover.jpg").write_text("x")
    (music / ".DS_Store").write_text("x")
    (music / "._piece 01.wav").write_text("x")
    (Path(os.fsencode(music).decode("utf-8", "surrogateescape")) / "bad\udcff.wav").write_bytes(b"x")
    result = plan(music, DataConfig(max_duration_sec=3.0))
    reasons = {path: line["reason"] for path, line in inventory(music).items() if line["status"] != "used"}
    assert reasons == {
        "bad\\udcff.wav": "bad_name",
        "broken words.wav": "bad_metadata",
        "empty.wav": "empty",
        "gone.wav": "unreadable",
        "long.ogg": "too_long",
        "renamed text.mp3": "unreadable",
        "session.als": "not_music",
        "short.flac": "too_short",
        "tape.wma": "unsupported",
        "zz copy.wav": "duplicate",
    }
    lines = inventory(music)
    assert "piece 01.wav" in lines["zz copy.wav"]["detail"]
    assert lines["broken words.wav"]["detail"].startswith("broken words.json: line 2: not JSON")
    assert "0.200 s" in lines["short.flac"]["detail"]
    assert result.corpora["mine"].num_used == 7
    assert sum(result.corpora["mine"].num_rejected.values()) == 9
    assert result.corpora["mine"].num_ignored == 1
    shown = capsys.readouterr().err
    assert "7 tracks used" in shown
    assert "9 rejected" in shown


def test_of_two_copies_the_one_with_words_is_used(music: Path) -> None:
    shutil.copy(music / "piece 01.wav", music / "a copy without words.wav")
    plan(music)
    lines = inventory(music)
    assert lines["a copy without words.wav"]["reason"] == "duplicate"
    assert lines["piece 01.wav"]["status"] == "used"
    assert metadata(music)["piece 01.wav"]["caption"] == "a tone, number 1"


def test_of_two_copies_the_one_with_a_row_in_the_table_is_used(music: Path) -> None:
    shutil.copy(music / "piece 01.wav", music / "a copy.wav")
    (music / "captions.csv").write_text("file,description,genre\npiece 01.wav,words,jazz\nnobody.wav,x,y\n")
    plan(music, captions="captions.csv")
    lines = inventory(music)
    assert lines["a copy.wav"]["reason"] == "duplicate"
    assert metadata(music)["piece 01.wav"]["caption"] == "words"
    notes = read_jsonl(music.parent / "results/plan/mine/notes.jsonl")
    assert [note["path"] for note in notes].count("captions.csv") == 1
    assert not [note for note in notes if note["path"] == "a copy.wav"], "a rejected file needs no words"


def test_words_come_in_the_declared_order(music: Path) -> None:
    (music / "captions.csv").write_text("file,genre,license\npiece 00.wav,Jazz,CC-BY-4.0\nnobody.wav,pop,x\n")
    (music / "piece 00.json").write_text('{"genre": "rock", "bpm": "99", "artist": "A"}')
    plan(music, captions=("captions.csv", "json", "txt"), license="CC0-1.0")
    line = metadata(music)["piece 00.wav"]
    assert (line["genre"], line["bpm"], line["license"]) == ("jazz", 99.0, "CC-BY-4.0")
    assert line["caption"] == "a tone, number 0"
    assert metadata(music)["piece 01.wav"]["license"] == "CC0-1.0"
    notes = read_jsonl(music.parent / "results/plan/mine/notes.jsonl")
    assert notes[0] == {"path": "captions.csv", "line": 3, "text": "'nobody.wav' matches no audio file"}
    assert notes[1:] == [], "their words stand in sidecars"
    (music / "piece 04.txt").unlink()
    plan(music, captions=("captions.csv", "json", "txt"), license="CC0-1.0")
    notes = read_jsonl(music.parent / "results/plan/mine/notes.jsonl")
    assert notes[1:] == [
        {"path": "piece 04.wav", "line": None, "text": "has no row in captions.csv, and no words elsewhere"}
    ]


def test_buckets_list_exactly_the_used_tracks(music: Path) -> None:
    result = plan(music, num_buckets=3)
    folder = music.parent / "results/plan/mine"
    listed = {path.stem: path.read_text().split() for path in sorted(folder.glob("buckets/*.txt"))}
    assert sorted(listed) == sorted(result.corpora["mine"].buckets)
    assert sorted(key for keys in listed.values() for key in keys) == sorted(
        m["track"] for m in metadata(music).values()
    )
    for bucket, keys in listed.items():
        located = json.loads((folder / f"locations/{bucket}.json").read_text())
        assert sorted(located) == keys == sorted(keys)
    plan(music, num_buckets=1)
    assert [path.name for path in folder.glob("buckets/*.txt")] == ["00000-of-00001.txt"]


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def test_nothing_is_written_when_nothing_changed(music: Path) -> None:
    first = plan(music)
    before = snapshot(music.parent / "results")
    assert plan(music) == first
    assert snapshot(music.parent / "results") == before
    for path in music.iterdir():
        os.utime(path)
    assert plan(music) == first
    changed = {Path(p).name for p, t in snapshot(music.parent / "results").items() if before.get(p) != t}
    assert changed == {"cache.jsonl", "files.list", "snapshot.json"}


def test_an_unchanged_corpus_is_not_looked_at_track_by_track(
    music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (music / "empty.wav").touch()
    first = plan(music)
    said = capsys.readouterr().err.splitlines()[1:]
    with monkeypatch.context() as patched:
        patched.setattr(stage, "take_inventory", lambda *_: pytest.fail("the corpus did not change"))
        assert plan(music) == first
        assert capsys.readouterr().err.splitlines() == said
    for change in (
        lambda: (music / "piece 02.txt").write_text("other words"),
        lambda: (music.parent / "results/plan/mine/metadata.jsonl").write_text("altered by hand"),
        lambda: next((music.parent / "results/plan/mine/buckets").iterdir()).unlink(),
        lambda: (music.parent / "results/plan/mine/snapshot.json").write_text("{"),
        lambda: (music / "empty.wav").unlink(),
    ):
        change()
        again = plan(music)
        shutil.rmtree(music.parent / "results")
        assert plan(music) == again
    assert plan(music, license="CC0-1.0") != again


def test_a_moved_corpus_is_the_same_corpus(music: Path) -> None:
    first = plan(music)
    shutil.copytree(music, music.parent / "elsewhere")
    assert plan(music.parent / "elsewhere") == first
    assert str(music.parent) not in (music.parent / "results/plan/plan.json").read_text()


def test_content_replaced_under_an_old_time_is_noticed(music: Path) -> None:
    first = plan(music).corpora["mine"]
    old = (music / "piece 02.wav").stat()
    make_tone(music / "piece 02.wav", 500)
    os.utime(music / "piece 02.wav", ns=(old.st_atime_ns, old.st_mtime_ns))
    assert plan(music).corpora["mine"].buckets != first.buckets


def test_a_caption_moves_no_bucket(music: Path) -> None:
    first = plan(music).corpora["mine"]
    (music / "piece 02.txt").write_text("other words")
    second = plan(music).corpora["mine"]
    assert second.buckets == first.buckets
    assert second.metadata_digest != first.metadata_digest


def test_licences_gate_without_touching_audio(music: Path) -> None:
    first = plan(music).corpora["mine"]
    for i in range(4):
        (music / f"piece 0{i}.json").write_text('{"license": "cc0-1.0"}')
    gated = plan(music, licenses=("CC0-1.0",)).corpora["mine"]
    assert gated.buckets == first.buckets
    splits = {path: line["split"] for path, line in metadata(music).items()}
    assert [splits[f"piece 0{i}.wav"] for i in (4, 5)] == [None, None]
    assert {splits[f"piece 0{i}.wav"] for i in range(4)} == {"train", "valid", "evaluate"}


def test_one_artist_never_crosses_splits(music: Path) -> None:
    for i, artist in enumerate(["A", "A", "a ", "B", "C", None]):
        (music / f"piece 0{i}.json").write_text(json.dumps({"artist": artist}))
    plan(music)
    splits = [metadata(music)[f"piece 0{i}.wav"]["split"] for i in range(3)]
    assert len(set(splits)) == 1


def test_results_inside_the_music_are_not_music(music: Path) -> None:
    make_tone(music / "results/runs/a.wav", 440)
    corpora = {"mine": CorpusConfig(path=str(music))}
    result = stage.run(ScanStageConfig(corpora=corpora, data=DataConfig()), results=music / "results")
    assert result.corpora["mine"].num_used == 6


def test_plan_survives_its_file(music: Path) -> None:
    first = plan(music)
    path = music.parent / "results/plan/plan.json"
    assert read_plan(path) == first
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"plan\.json: not a plan"):
        read_plan(path)


@pytest.mark.parametrize(
    ("prepare", "corpus", "message"),
    [
        (lambda m: shutil.rmtree(m), {}, "corpora.mine.path: .* is not a folder"),
        (lambda m: [p.unlink() for p in m.iterdir()], {}, "the folder holds no audio file"),
        (lambda m: [p.write_text("") for p in m.glob("*.wav")], {}, "no usable audio: 6 empty"),
        (lambda m: [p.unlink() for p in m.glob("*.txt")], {}, "0 of 6 track.s. have a caption.*allow_uncaptioned"),
        (lambda m: None, {"captions": "tags"}, "0 of 6 track.s. have a caption .looked in tags."),
        (lambda m: None, {"captions": "no.csv"}, "no such table"),
        (lambda m: None, {"licenses": ("CC0-1.0",)}, "none of 6 track.s. may be used.*have none"),
        (lambda m: [p.unlink() for p in m.glob("piece 0[2-5].wav")], {}, "2 usable track.s. in 2 group.s.*at least 3"),
    ],
)
def test_corpora_that_cannot_be_used_end_in_one_line(music: Path, prepare: Any, corpus: Any, message: str) -> None:
    prepare(music)
    with pytest.raises(ValueError, match=message) as caught:
        plan(music, **corpus)
    assert "\n" not in str(caught.value)
    assert "corpora.mine" in str(caught.value)


def test_uncaptioned_music_is_allowed_by_a_key(music: Path) -> None:
    assert (
        plan(music, replace(DataConfig(), allow_uncaptioned=True), captions="tags").corpora["mine"].num_captioned == 0
    )
