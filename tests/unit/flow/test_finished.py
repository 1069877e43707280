"""Which outputs outlive the failure of the SLURM job that they were made in."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from musicgen_core import native
from musicgen_core.flow import workers
from musicgen_core.flow.finished import is_finished
from musicgen_core.stages import STAGES
from musicgen_core.util.receipt import receipt_path, write_receipt

CONFIG = {"chunk_sec": 30.0}


def begin(sec_ago: float) -> None:
    """Let this snakemake have begun then; it touches its note as long as it lives."""
    workers._here[-1].begun_sec = time.time() - sec_ago


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A prepared bucket and its tokens, each with its receipt, made in 1 s after a snakemake began that is this one."""
    monkeypatch.chdir(tmp_path)
    workers.register()
    begin(60)
    audio, tokens = tmp_path / "audio.tar", tmp_path / "tokens.tar"
    audio.write_bytes(b"audio" * 50)
    tokens.write_bytes(b"codes" * 50)
    write_receipt(audio, "resample", STAGES["resample"].version, {}, {}, 1.0)
    digest = native.hash_file(audio)
    write_receipt(tokens, "tokenize", STAGES["tokenize"].version, CONFIG, {str(audio): digest}, 1.0)
    return audio, tokens


def test_a_whole_output_is_finished(made: tuple[Path, Path]) -> None:
    assert is_finished("tokenize", CONFIG, [str(made[1])])
    os.utime(made[1], (1, 1))  # as Snakemake touches outputs
    assert is_finished("tokenize", CONFIG, [str(made[1])])
    assert not is_finished("tokenize", CONFIG, [])


@pytest.mark.parametrize(
    "change",
    [
        lambda audio, tokens: tokens.unlink(),
        lambda audio, tokens: receipt_path(tokens).unlink(),
        lambda audio, tokens: tokens.write_bytes(b"codes" * 49),
        lambda audio, tokens: tokens.write_bytes(b"codec" * 50),
        lambda audio, tokens: audio.write_bytes(b"audio" * 49),
        lambda audio, tokens: audio.unlink(),
        lambda audio, tokens: _replace(audio),
    ],
    ids=["gone", "no receipt", "cut", "altered", "input cut", "input gone", "input made anew"],
)
def test_anything_else_is_not(made: tuple[Path, Path], change: Callable[[Path, Path], object]) -> None:
    change(*made)
    assert not is_finished("tokenize", CONFIG, [str(made[1])])


def _replace(audio: Path) -> None:
    audio.write_bytes(b"other" * 50)
    write_receipt(audio, "resample", STAGES["resample"].version, {}, {}, 1.0)


def test_another_stage_version_or_config_is_not(made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_finished("tokenize", {"chunk_sec": 20.0}, [str(made[1])])
    assert not is_finished("resample", CONFIG, [str(made[1])])
    assert not is_finished("tokenize", CONFIG, [str(made[1]), str(made[0])])
    raised = STAGES["tokenize"]._replace(version=STAGES["tokenize"].version + 1)
    monkeypatch.setitem(STAGES, "tokenize", raised)
    assert not is_finished("tokenize", CONFIG, [str(made[1])])


def test_what_a_former_snakemake_made_is_not_kept(made: tuple[Path, Path]) -> None:
    """Whole, and of the same inputs and config: but it was to be made anew, and its job never started."""
    begin(-5)
    assert not is_finished("tokenize", CONFIG, [str(made[1])])


def test_the_command_too_has_to_begin_after_this_snakemake(made: tuple[Path, Path]) -> None:
    """Else a node whose clock is ahead could pass its old output off as new."""
    audio, tokens = made
    inputs = {str(audio): native.hash_file(audio)}
    write_receipt(tokens, "tokenize", STAGES["tokenize"].version, CONFIG, inputs, 61.0)
    assert not is_finished("tokenize", CONFIG, [str(tokens)])
    write_receipt(tokens, "tokenize", STAGES["tokenize"].version, CONFIG, inputs, 50.0)
    assert is_finished("tokenize", CONFIG, [str(tokens)])


def test_touches_of_the_note_do_not_move_the_start(made: tuple[Path, Path]) -> None:
    (note,) = workers.FOLDER.iterdir()
    os.utime(note)
    assert is_finished("tokenize", CONFIG, [str(made[1])])


def test_where_nobody_registered_nothing_is_kept(made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_here", [])
    assert not is_finished("tokenize", CONFIG, [str(made[1])])


@pytest.mark.parametrize("what", ["output", "input"])
def test_a_disk_that_fails_keeps_nothing_and_raises_nothing(
    made: tuple[Path, Path], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made[what == "output"]
    os.utime(path, (1, 1))  # so that it is read

    def fail(read: Path) -> str:
        assert read == path
        raise OSError(5, "Input/output error", str(read))

    monkeypatch.setattr(native, "hash_file", fail)
    assert not is_finished("tokenize", CONFIG, [str(made[1])])
