"""What may still be at work on results of a file system that many machines share."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from fake_slurm import play

from musicgen_core.flow.living import OLD_SEC, TEMPORARY, is_leftover, name_trainer
from musicgen_core.util import atomic
from musicgen_core.util.process import describe_process

__all__ = ["play"]

HOST = describe_process()["host"]


def _dead() -> int:
    gone = subprocess.Popen(["true"])
    gone.wait()
    return gone.pid


def _write(folder: Path, name: str, age_sec: float = 0.0) -> Path:
    path = folder / name
    path.write_text("x")
    then = time.time() - age_sec
    os.utime(path, (then, then))
    return path


def test_names_of_temporary_files_say_whose_they_are(tmp_path: Path) -> None:
    with atomic.atomic_path(tmp_path / "a.tar") as temporary:
        found = TEMPORARY.match(temporary.name)
        assert found
        assert (found[1], found[2]) == (str(os.getpid()), HOST)
        assert not is_leftover(_write(tmp_path, temporary.name, 2 * OLD_SEC)), "its process lives"


@pytest.mark.parametrize(
    ("owner", "age_sec", "leftover"),
    [
        ("{dead}@{host}", 0, True),
        ("{alive}@{host}", 2 * OLD_SEC, False),
        ("{dead}@n7", 3600, False),  # a job on another node, whose process number means nothing here
        ("{dead}@n7", 2 * OLD_SEC, True),
        ("{dead}", 3600, False),  # the extension's, and those of former versions, do not say where
        ("{dead}", 2 * OLD_SEC, True),
        ("{alive}", 2 * OLD_SEC, False),
    ],
)
def test_a_leftover_is_that_of_a_process_that_is_gone(
    tmp_path: Path, owner: str, age_sec: float, leftover: bool
) -> None:
    name = f".a.tar.{owner.format(dead=_dead(), alive=os.getpid(), host=HOST)}.tmp"
    assert is_leftover(_write(tmp_path, name, age_sec)) == leftover


def test_a_folder_is_as_young_as_its_youngest_file(tmp_path: Path) -> None:
    folder = tmp_path / f".export.{_dead()}@n7.tmp"
    folder.mkdir()
    _write(folder, "a", 0)
    os.utime(folder, (0, 0))
    assert not is_leftover(folder)
    _write(folder, "a", 2 * OLD_SEC)
    os.utime(folder, (0, 0))
    assert is_leftover(folder)


def test_a_folder_that_may_be_in_training_names_who_trains_it(tmp_path: Path, play) -> None:
    def lock(**changes: object) -> None:
        (tmp_path / "LOCK").write_text(json.dumps({**describe_process(), "job_id": None, **changes}))

    assert name_trainer(tmp_path) == ""
    lock()
    assert name_trainer(tmp_path).startswith(f"process {os.getpid()} on {HOST} trains it")
    lock(host="n7")
    assert "on n7 trains it; if it is gone, delete LOCK" in name_trainer(tmp_path)
    lock(pid=_dead())
    assert name_trainer(tmp_path) == ""
    lock(pid=_dead(), job_id="7")
    play("squeue", "echo 'RUNNING|None|n1'")
    assert name_trainer(tmp_path) == "SLURM job 7 has it (RUNNING)"
    (tmp_path / "LOCK").unlink()
    (tmp_path / "job.json").write_text('{"job_id": "8"}')
    play("squeue", "echo 'PENDING|Priority|'")
    assert name_trainer(tmp_path) == "SLURM job 8 has it (PENDING)"
    play("squeue", "exit 1")
    assert "SLURM job 8 may have it" in name_trainer(tmp_path)
    (tmp_path / "DONE").touch()
    assert name_trainer(tmp_path) == ""
    (tmp_path / "DONE").unlink()
    play("squeue", "echo 'COMPLETED|None|n1'")
    assert name_trainer(tmp_path) == ""
