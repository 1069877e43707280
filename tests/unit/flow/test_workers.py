import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from musicgen_core.flow import workers
from musicgen_core.util.process import describe_process, start_ticks


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _write(**changes: object) -> None:
    process = {**describe_process(), **changes}
    workers.FOLDER.mkdir(parents=True, exist_ok=True)
    (workers.FOLDER / f"{process['host']}-{process['pid']}.json").write_text(json.dumps(process))


def test_who_holds_a_lock_is_said() -> None:
    assert "or was killed: `snakemake --unlock`" in workers.explain_lock()
    presence = workers.register()
    assert "or was killed" in workers.explain_lock(), "not by this process itself"
    presence.withdraw()
    gone = subprocess.Popen(["true"])
    gone.wait()
    _write(pid=gone.pid)
    assert f"was killed (process {gone.pid} on" in workers.explain_lock()
    assert "`snakemake --unlock`, then the same command" in workers.explain_lock()
    with subprocess.Popen(["sleep", "60"]) as living:
        _write(pid=living.pid, started=start_ticks(living.pid))
        assert f"another snakemake works in this folder (process {living.pid} on" in workers.explain_lock()
        assert "wait for it, or stop it" in workers.explain_lock()
        living.kill()


def _write_elsewhere(silent_sec: float, **changes: object) -> Path:
    _write(**{"host": "login1", "pid": 5, "locks": ["0.input.lock"], **changes})
    path = workers.FOLDER / "login1-5.json"
    then = path.stat().st_mtime - silent_sec
    os.utime(path, (then, then))
    return path


def _lock(name: str = "0.input.lock") -> None:
    workers.LOCKS.mkdir(parents=True, exist_ok=True)
    (workers.LOCKS / name).write_text("x")


def test_on_another_machine_a_young_note_is_life_and_an_old_one_is_not() -> None:
    _lock()
    _write_elsewhere(silent_sec=20)
    assert [p["pid"] for p in workers.list_others()[0]] == [5]
    line = workers.explain_lock()
    assert line.startswith("Error: another snakemake works in this folder (process 5 on login1 since ")
    assert "last sign of life 20 s ago" in line
    assert line.endswith("stop it; if it is gone from login1: `snakemake --unlock`, then the same command")
    path = _write_elsewhere(silent_sec=2 * workers.SILENT_SEC)
    assert workers.list_others()[0] == []
    assert "was killed (process 5 on login1, begun " in workers.explain_lock()
    workers.forget_gone()
    assert not path.exists()


def test_a_note_of_a_version_that_left_them_for_ever_says_nothing() -> None:
    _write(host="login1", pid=5)
    assert workers.list_others()[0] == [], "so orphans are looked for"
    gone = subprocess.Popen(["true"])
    gone.wait()
    _write(pid=gone.pid)
    assert "was killed" in workers.explain_lock()


def test_who_holds_the_lock_is_told_from_who_works_beside_it() -> None:
    """Two snakemakes may work in one folder on different files; the one that holds the lock was killed."""
    _lock("1.input.lock")
    _write_elsewhere(silent_sec=0)
    gone = subprocess.Popen(["true"])
    gone.wait()
    _write(pid=gone.pid, locks=["1.input.lock"])
    assert f"was killed (process {gone.pid} on " in workers.explain_lock()


def test_a_process_leaves_no_note_when_it_ends() -> None:
    for end in ("", "raise SystemExit('Error: x')", "raise KeyboardInterrupt"):
        script = "from musicgen_core.flow import workers; workers.register(['a']); "
        script += f"assert list(workers.FOLDER.iterdir()); {end}"
        subprocess.run([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
        assert list(workers.FOLDER.iterdir()) == [], end


def test_a_note_is_touched_while_its_process_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "BEAT_SEC", 0.01)
    presence = workers.register()
    os.utime(presence.path, (0, 0))
    deadline = time.monotonic() + 60
    while presence.path.stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert presence.path.stat().st_mtime > 0
    presence.path.unlink()  # by one that took it for gone
    while not presence.path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    presence.withdraw()
    assert not presence.path.exists()
    assert not presence.thread.is_alive()


def test_unlocking_warns_of_who_still_works() -> None:
    _lock()
    assert workers.is_locked()
    assert workers.unlock() == "unlocked"
    assert not workers.is_locked()
    _lock()
    _write_elsewhere(silent_sec=3)
    assert "WARNING: process 5 on login1 since " in workers.unlock()
    assert not workers.is_locked()


def test_a_torn_note_is_passed_over() -> None:
    workers.FOLDER.mkdir(parents=True)
    (workers.FOLDER / "x.json").write_text("{")
    assert workers.list_others() == ([], [])
