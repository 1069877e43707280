"""Snakemake's memory (.snakemake) is lost after a job was killed, then something changed: all of it is made again."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_music import make_codec
from small_project import Project, make_project

from musicgen_core.util.receipt import receipt_path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, codec: Path) -> Project:
    """Killed at its first bucket, whose audio was written, but not what lies beside it. Another's tokens were written,
    but not their receipt. What comes after was not begun."""
    project = make_project(tmp_path_factory.mktemp("killed") / "project", codec)
    project.config["runs"] = {"base": {}}
    project.run("tokens")
    results = project.folder / "results"
    (results / "audio/mine/00000-of-00003.jsonl").unlink()
    receipt_path(results / "audio/mine/00000-of-00003.tar").unlink()
    tokens = next(results.glob("tokens/*/mine"))
    receipt_path(tokens / "00001-of-00003.tar").unlink()
    for name in ("index.bin", "00000-of-00003.tar"):
        (tokens / name).unlink()
        receipt_path(tokens / name).unlink()
    shutil.rmtree(results / "manifest")
    shutil.rmtree(project.folder / ".snakemake")
    return project


@pytest.fixture
def project(killed: Project, tmp_path: Path) -> Project:
    shutil.copytree(killed.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project", copy.deepcopy(killed.config))


def change_nothing(project: Project) -> None: ...


def change_codec(project: Project) -> None:
    make_codec(project.folder / "codec2", seed=1)
    project.config["codec"]["path"] = "codec2"


def change_key(project: Project) -> None:
    project.config["audio"] = {"loudness_lufs": -14.0}


def change_version(project: Project) -> None:
    folder = project.folder / "patched"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "from musicgen_core.stages import STAGES\nSTAGES['tokenize'] = STAGES['tokenize']._replace(version=7)\n"
    )


BROKEN = {"resample": 1, "manifest": 1, "tokenize": 1, "index": 1}
"""What the killed job alone asks for."""


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        (change_nothing, BROKEN),
        (change_codec, {**BROKEN, "tokenize": 3}),
        (change_version, {**BROKEN, "tokenize": 3}),
        (change_key, {**BROKEN, "resample": 3, "tokenize": 3}),
    ],
)
def test_what_changed_after_a_kill_is_made_though_snakemake_forgot(
    project: Project, monkeypatch: pytest.MonkeyPatch, change: Callable[[Project], None], jobs: dict[str, int]
) -> None:
    change(project)
    if change is change_version:
        monkeypatch.setenv("PYTHONPATH", str(project.folder / "patched"), prepend=":")
    assert project.dry_run("tokens").counts == jobs
