import json
import subprocess
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
    workers.register()
    assert "or was killed" in workers.explain_lock(), "not by this process itself"
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


def test_who_cannot_be_asked_is_taken_for_alive_and_who_is_gone_is_forgotten() -> None:
    _write(host="elsewhere")
    gone = subprocess.Popen(["true"])
    gone.wait()
    _write(pid=gone.pid)
    there, dead = workers.list_others()
    assert [p["host"] for p in there] == ["elsewhere"]
    assert [p["pid"] for p in dead] == [gone.pid]
    workers.forget_gone()
    assert workers.list_others() == (there, [])


def test_a_torn_note_is_passed_over() -> None:
    workers.FOLDER.mkdir(parents=True)
    (workers.FOLDER / "x.json").write_text("{")
    assert workers.list_others() == ([], [])
