"""Music that cannot be read for a while must not look like music that was deleted."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_core.config.data import CorpusConfig, DataConfig
from musicgen_core.config.root import ScanStageConfig
from musicgen_core.data import inventory as taken
from musicgen_core.data.away import describe_loss
from musicgen_core.data.plan import Plan
from musicgen_core.native import FolderList
from musicgen_core.stages import scan as stage
from musicgen_core.util.atomic import read_jsonl

NUM_TRACKS = 40


@pytest.fixture
def music(tmp_path: Path) -> Path:
    (tmp_path / "music/disk").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(NUM_TRACKS):
        folder = tmp_path / "music" / ("disk" if number < 12 else "")
        soundfile.write(folder / f"{number:02d}.wav", rng.normal(0, 0.1, 4800).astype(np.float32), 16000)
    return tmp_path / "music"


def plan(music: Path, **corpus: object) -> Plan:
    corpora = {"mine": CorpusConfig(path=str(music), **corpus)}
    data = DataConfig(min_duration_sec=0.1, allow_uncaptioned=True)
    return stage.run(ScanStageConfig(corpora=corpora, data=data), results=music.parent / "results")


def read_plan_files(music: Path) -> dict[str, bytes]:
    folder = music.parent / "results/plan"
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rejected(music: Path) -> dict[str, tuple[str, str]]:
    lines = read_jsonl(music.parent / "results/plan/mine/inventory.jsonl")
    return {line["path"]: (line["reason"], line["detail"]) for line in lines if line["status"] == "rejected"}


def test_a_folder_behind_a_broken_link_is_an_error_and_plans_nothing(music: Path) -> None:
    shutil.move(music / "disk", music.parent / "disk")
    (music / "disk").symlink_to(music.parent / "disk")
    assert plan(music).corpora["mine"].num_used == NUM_TRACKS
    before = read_plan_files(music)
    (music.parent / "disk").rename(music.parent / "unmounted")
    with pytest.raises(
        ValueError, match=r"^corpora.mine \(.*\): disk: a link that leads nowhere; 12 files of .*mount it"
    ):
        plan(music)
    assert read_plan_files(music) == before
    (music.parent / "unmounted").rename(music.parent / "disk")
    assert plan(music).corpora["mine"].num_used == NUM_TRACKS
    (music / "disk").unlink()
    assert plan(music).corpora["mine"].num_used == NUM_TRACKS - 12, "what is removed is meant"


@pytest.mark.parametrize("name", ["notes.txt", "folder", "session.als", "x.wma", "00.wav.md", "a b.wav"])
def test_a_link_that_leads_nowhere_is_rejected_by_name_whatever_its_ending(music: Path, name: str) -> None:
    plan(music)
    (music / name).symlink_to("nowhere")
    plan(music)  # amended
    amended = read_plan_files(music)
    assert rejected(music) == {name: ("unreadable", "a link that leads nowhere")}
    shutil.rmtree(music.parent / "results")
    plan(music)
    for path in amended:
        if not path.endswith(("cache.jsonl", "snapshot.json")):
            assert amended[path] == Path(path).read_bytes(), path
    (music / name).unlink()
    plan(music)
    assert rejected(music) == {}


def test_words_behind_a_broken_link_reject_their_track(music: Path) -> None:
    (music / "20.txt").symlink_to("nowhere")
    plan(music, captions=("txt",))
    assert rejected(music)["20.wav"] == ("bad_metadata", "20.txt: a link that leads nowhere")


def test_what_a_link_leads_to_cannot_be_said(music: Path) -> None:
    (music / "long").symlink_to("x" * 300)
    with pytest.raises(ValueError, match=r"^corpora.mine: .*music/long: File name too long; mount it again or mend"):
        plan(music)


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder in which another user may not read `closed`, nor look at what is in `shut`."""
    folder = Path(tempfile.mkdtemp())
    try:
        for name in ("closed", "shut"):
            (folder / name).mkdir(parents=True)
            (folder / name / "a.wav").write_text("x")
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize(("name", "mode"), [("closed", 0o000), ("shut", 0o744)])
def test_a_folder_that_may_not_be_read_is_an_error(closed: Path, name: str, mode: int) -> None:
    (closed / name).chmod(mode)
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.seteuid(65534)
            taken.find_files("mine", CorpusConfig(path=str(closed)))
            said = "nothing"
        except ValueError as error:
            said = str(error)
        os.write(into, said.encode())
        os._exit(0)
    os.close(into)
    os.waitpid(pid, 0)
    said = os.read(out, 10000).decode()
    os.close(out)
    assert said.startswith(f"corpora.mine: {closed}/{name}")
    assert "Permission denied; mount it again or mend its permissions" in said


def test_a_folder_that_goes_while_it_is_walked_is_gone(music: Path) -> None:
    (music / "loop").symlink_to("loop")
    assert {file.path: file.size for file in FolderList(music).files()}["loop"] == -1


@pytest.mark.parametrize("whole", [False, True], ids=["amended", "scanned"])
def test_a_disk_that_fails_is_an_error_for_tracks_of_the_last_plan(
    music: Path, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(music)
    before = read_plan_files(music)
    touched = sorted(music.rglob("*.wav"))[: NUM_TRACKS if whole else 1]
    for path in touched:
        os.utime(path, (1, 1))
    make_new = music / "new.wav"
    shutil.copy(music / "30.wav", make_new)
    make_new.write_bytes(make_new.read_bytes() + b"x")
    real, failing = taken._probe, {touched[0], make_new}

    def probe(path: Path) -> dict:
        if path in failing:
            return {"error": os.strerror(errno.EIO), "transient": True}
        return real(path)

    monkeypatch.setattr(taken, "_probe", probe)
    with pytest.raises(ValueError, match=r"12.wav, used by the last plan, cannot be read: Input/output error; mount"):
        plan(music)
    after = read_plan_files(music)
    assert {k: v for k, v in after.items() if "cache" not in k} == {k: v for k, v in before.items() if "cache" not in k}
    failing.remove(touched[0])
    plan(music)
    assert rejected(music)["new.wav"] == ("unreadable", "Input/output error"), "a new file is rejected by name"
    failing.clear()
    assert plan(music).corpora["mine"].num_used == NUM_TRACKS + 1, "and tried again"


def test_a_large_loss_is_said_with_its_numbers(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan(music)
    shutil.rmtree(music / "disk")
    capsys.readouterr()
    plan(music)
    said = capsys.readouterr().err
    assert "plan: mine: WARNING: 28 tracks are used, 12 fewer than the 40 of the last plan (30 %); if that is" in said
    plan(music)
    assert "WARNING" not in capsys.readouterr().err


def test_what_is_a_large_loss() -> None:
    assert describe_loss("mine", 1000, 900) is None
    assert describe_loss("mine", 1000, 899)
    assert describe_loss("mine", 12, 3) is None
    assert describe_loss("mine", 12, 2)
    assert describe_loss("mine", 0, 12) is None
