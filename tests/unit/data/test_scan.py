"""The walk over a folder, what changed there, and what is remembered of its files."""

import os
from pathlib import Path

from musicgen_core.data.scan import StatCache
from musicgen_core.native import FolderList, FoundFile


def walk(folder: Path, skip: Path | None = None) -> list[FoundFile]:
    return FolderList(folder, skip).files()


def test_walk_leaves_out_hidden_files_and_ends_in_loops(tmp_path: Path) -> None:
    music = tmp_path / "music"
    (music / "b").mkdir(parents=True)
    (music / ".git").mkdir()
    for name in ("a.wav", "b/c d 'e'.wav", ".DS_Store", "._a.wav", ".git/x.wav", "b/ñ.wav"):
        (music / name).write_text("x")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "f.wav").write_text("x")
    (music / "link").symlink_to(elsewhere)
    (music / "b" / "up").symlink_to(music)
    (music / "gone.wav").symlink_to(tmp_path / "nothing")
    found = walk(music)
    assert [f.path for f in found] == ["a.wav", "b/c d 'e'.wav", "b/ñ.wav", "gone.wav", "link/f.wav"]
    assert [f.size for f in found if f.path == "gone.wav"] == [-1]


def test_walk_skips_results_inside_the_music(tmp_path: Path) -> None:
    (tmp_path / "results" / "samples").mkdir(parents=True)
    (tmp_path / "results/samples/a.wav").write_text("x")
    (tmp_path / "b.wav").write_text("x")
    assert [f.path for f in walk(tmp_path, skip=tmp_path / "results")] == ["b.wav"]
    assert [f.path for f in walk(tmp_path / "results", skip=tmp_path / "results")] == ["samples/a.wav"]


def test_cache_forgets_changed_files(tmp_path: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    (music / "a.wav").write_text("one")
    (found,) = walk(music)
    cache = StatCache(tmp_path / "cache.jsonl")
    cache.put(found, {"key": "k"})
    cache.save({"a.wav"})
    assert StatCache(tmp_path / "cache.jsonl").get(found) == {"key": "k"}
    old = os.stat(music / "a.wav")
    (music / "a.wav").write_text("two")
    os.utime(music / "a.wav", ns=(old.st_atime_ns, old.st_mtime_ns))
    (changed,) = walk(music)
    assert (changed.size, changed.mtime_ns) == (found.size, found.mtime_ns)
    assert StatCache(tmp_path / "cache.jsonl").get(changed) is None


def test_damaged_cache_is_no_cache(tmp_path: Path) -> None:
    for text in ("", "oops", '{"version": 1}\n["a"', '{"version": 0}\n["a", 1, 2, 3, {}]'):
        (tmp_path / "cache.jsonl").write_text(text)
        assert StatCache(tmp_path / "cache.jsonl").entries == {}


def test_cache_is_written_only_when_it_changed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("x")
    (found,) = walk(tmp_path)
    path = tmp_path / ".cache"
    times = []
    for _ in range(2):
        cache = StatCache(path)
        cache.put(found, {"key": "k"})
        cache.save({"a.wav"})
        times.append(path.stat().st_mtime_ns)
    assert times[0] == times[1]
