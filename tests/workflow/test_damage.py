"""Kills, full disks, read-only folders: after the next run the results are those of an undisturbed one.

Each stage runs in a fork of this process, so that a kill finds it at work and not at its imports. MUSICGEN_KILLS says
how often (default 20).
"""

import os
import random
import re
import resource
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from small_music import make_tone
from small_project import Project, make_project

import musicgen_core.codec.load  # noqa: F401  a fork must not import torch anew
from musicgen_core import cli
from musicgen_core.util.receipt import ENDING

pytestmark = pytest.mark.slow

NUM_KILLS = int(os.environ.get("MUSICGEN_KILLS", 20))
STAGES = ("resample", "manifest", "tokenize", "index")


def fork(folder: Path, words: list[str], prepare: Callable[[], None] = lambda: None) -> int:
    """Start `musicgen WORDS` in a fork; -> its process id. What it says goes to folder/said.txt."""
    pid = os.fork()
    if pid:
        return pid
    os.chdir(folder)
    said = os.open(folder / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    try:
        prepare()
        os._exit(cli.main(words))
    finally:
        os._exit(70)


def finish(folder: Path, words: list[str], prepare: Callable[[], None] = lambda: None) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(fork(folder, words, prepare), 0)[1])


def read_results(folder: Path) -> dict[str, bytes]:
    """All results but receipts, which hold times, and what a killed process leaves for `musicgen gc`."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for kind in ("audio", "manifest", "tokens")
        for path in sorted((folder / "results" / kind).rglob("*"))
        if path.is_file() and not path.name.endswith(ENDING) and not path.name.endswith(".tmp")
    }


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, codec: Path) -> tuple[Project, list[list[str]]]:
    """A project in which nothing has run, and the commands of its data stages in their order."""
    project = make_project(tmp_path_factory.mktemp("damage") / "project", codec)
    project.config["corpora"]["mine"]["num_buckets"] = 1
    for extra in range(6):
        make_tone(project.music / f"long {extra}.wav", 300 + 10 * extra, duration_sec=20)
    shown = project.dry_run("tokens", "--printshellcmds").text
    lines = [line.split("Shell command: ")[1] for line in shown.splitlines() if "Shell command: musicgen" in line]
    commands = {(words := shlex.split(line.split(" 2>&1")[0])[1:])[0]: words for line in lines}
    os.environ["OMP_NUM_THREADS"] = "1"
    return project, [commands[stage] for stage in STAGES]


@pytest.fixture(scope="module")
def undisturbed(planned: tuple[Project, list[list[str]]]) -> dict[str, bytes]:
    project, commands = planned
    for words in commands:
        assert finish(project.folder, words) == 0, (project.folder / "said.txt").read_text()
    return read_results(project.folder)


@pytest.fixture
def project(planned: tuple[Project, list[list[str]]], undisturbed: dict[str, bytes], tmp_path: Path) -> Project:
    copied = Project(tmp_path / "project", planned[0].config)
    shutil.copytree(planned[0].folder, copied.folder, symlinks=True)
    where = copied.folder / "results/plan/where.json"
    where.write_text(where.read_text().replace(str(planned[0].folder), str(copied.folder)))
    for kind in ("audio", "manifest", "tokens"):
        shutil.rmtree(copied.folder / "results" / kind)
    return copied


def test_kills_at_random_moments(
    planned: tuple[Project, list[list[str]]], project: Project, undisturbed: dict[str, bytes]
) -> None:
    rng, killed = random.Random(0), 0
    for number, words in enumerate(planned[1]):
        wanted = NUM_KILLS // len(STAGES) + (number < NUM_KILLS % len(STAGES))
        started = time.monotonic()
        assert finish(project.folder, words) == 0
        took_sec = time.monotonic() - started
        for _ in range(wanted):
            pid = fork(project.folder, words)
            time.sleep(rng.uniform(0, took_sec))
            os.kill(pid, signal.SIGKILL)
            at_work = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
            killed += at_work
            took_sec *= 1.0 if at_work else 0.7  # the first run was slower than the later ones
            for name, data in read_results(project.folder).items():
                assert data == undisturbed[name], f"{name} after kill {killed} of {words[0]}"
            if rng.random() < 0.5:  # as Snakemake does with outputs of a job that it found incomplete
                for kind in {"resample": "audio", "manifest": "manifest"}.get(words[0], "tokens").split():
                    if words[0] != "index":
                        shutil.rmtree(project.folder / "results" / kind, ignore_errors=True)
        assert finish(project.folder, words) == 0, (project.folder / "said.txt").read_text()
    assert killed >= len(STAGES), "too few were still at work"
    assert read_results(project.folder) == undisturbed


def read_plan(folder: Path) -> dict[str, bytes]:
    """The plan but snapshot.json, which holds times of the plan's own files, and what a killed process leaves."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "results/plan").rglob("*"))
        if path.is_file() and path.name != "snapshot.json" and not path.name.endswith(".tmp")
    }


def test_a_killed_scan_leaves_a_plan_that_the_next_one_makes_whole(project: Project) -> None:
    """A track comes and goes between the scans, so that each has something to write: now amended, now anew."""
    words, came, rng = (
        ["scan", "--config", "config.yaml", "--results", "results"],
        project.music / "came.wav",
        random.Random(1),
    )
    make_tone(came, 700)
    apart = came.rename(project.folder / "came.wav")
    plans, took_sec = {}, 0.0
    for there in (False, True):
        if there:
            shutil.copy2(apart, came)
        shutil.rmtree(project.folder / "results/plan")
        started = time.monotonic()
        assert finish(project.folder, words) == 0, (project.folder / "said.txt").read_text()
        took_sec = time.monotonic() - started
        plans[there] = {name: data for name, data in read_plan(project.folder).items() if not has_times(name)}
    killed = 0
    for _ in range(max(8, NUM_KILLS // 5)):
        if came.exists():
            came.unlink()
        else:
            shutil.copy2(apart, came)
        if rng.random() < 0.3:
            shutil.rmtree(project.folder / "results/plan")
        pid = fork(project.folder, words)
        time.sleep(rng.uniform(0, took_sec))
        os.kill(pid, signal.SIGKILL)
        at_work = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        killed += at_work
        took_sec *= 1.0 if at_work else 0.8
        assert finish(project.folder, words) == 0, (project.folder / "said.txt").read_text()
        plan = {name: data for name, data in read_plan(project.folder).items() if not has_times(name)}
        assert plan == plans[came.exists()], f"after kill {killed}"
    assert killed > 0, "none was still at work"


def has_times(name: str) -> bool:
    """The cache and the list of files hold ctimes, which differ when a file comes again."""
    return name.endswith(("cache.jsonl", "files.list"))


def alter(path: Path) -> None:
    """Another bit, under the same size."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


READ = {
    "manifest": ("audio/mine/*.jsonl",),
    "tokenize": ("audio/mine/*.tar",),
    "index": ("tokens/*/mine/0*.tar",),
    "train": ("manifest/mine/train.jsonl", "manifest/mine/valid.tracks", "tokens/*/mine/index.bin"),
    "export": ("manifest/mine/train.jsonl",),
    "generate": ("manifest/mine/generate.jsonl",),
    "evaluate": ("manifest/mine/evaluate.jsonl", "tokens/*/mine/index.bin", "audio/mine/*.tar"),
    "report": ("manifest/mine/train.jsonl",),
}
"""Stage -> results of other stages that it reads."""


def test_what_was_cut_or_altered_is_refused_by_each_stage_that_reads_it(project: Project) -> None:
    project.config["runs"] = {"base": {}}
    shown = project.dry_run("--printshellcmds").text
    lines = [line.split("Shell command: ")[1] for line in shown.splitlines() if "Shell command: musicgen" in line]
    commands = {(words := shlex.split(line.split(" 2>&1")[0])[1:])[0]: words for line in lines}
    for stage in STAGES:
        assert finish(project.folder, commands[stage]) == 0
    for stage, patterns in READ.items():
        for pattern in patterns:
            (path,) = (project.folder / "results").glob(pattern)
            for damage, message in ((cut, "bytes were written|it was cut short"), (alter, "it was altered")):
                kept, stat = path.read_bytes(), path.stat()
                damage(path)
                assert finish(project.folder, commands[stage]) == 1
                said = (project.folder / "said.txt").read_text().splitlines()[-1]
                name = path.relative_to(project.folder)
                assert re.match(
                    rf"musicgen {stage}: error: {name}: .*({message}).*; delete it and start snakemake", said
                ), said
                path.write_bytes(kept)
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


OUTPUTS = {"resample": "audio/", "manifest": "manifest/", "tokenize": "tokens/", "index": "/index.bin"}
"""Part of the names of a stage's results."""


def limit_file_size(num_bytes: int) -> None:
    """Let writes beyond half of the stage's largest result fail, as at the end of a disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes // 2, num_bytes // 2))


def test_a_write_that_fails_half_way_is_one_line(
    planned: tuple[Project, list[list[str]]], project: Project, undisturbed: dict[str, bytes]
) -> None:
    for words in planned[1]:
        before = read_results(project.folder)
        largest = max(len(data) for name, data in undisturbed.items() if OUTPUTS[words[0]] in name)
        assert finish(project.folder, words, partial(limit_file_size, largest)) == 1
        text = (project.folder / "said.txt").read_text()
        assert "the size limit is hit; free space and run the same command again, nothing half-written was kept" in text
        assert "Traceback" not in text
        assert read_results(project.folder) == before
        assert finish(project.folder, words) == 0
    assert read_results(project.folder) == undisturbed


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
@pytest.mark.parametrize(
    ("options", "message"), [("size=64k", "the disk is full; free space"), ("ro", "Read-only file system")]
)
def test_a_disk_that_takes_no_more_is_one_line(
    planned: tuple[Project, list[list[str]]],
    project: Project,
    undisturbed: dict[str, bytes],
    options: str,
    message: str,
) -> None:
    disk = project.folder / "results/audio"
    disk.mkdir(parents=True)
    if os.system(f"mount -t tmpfs -o {options} tmpfs {shlex.quote(str(disk))} 2>/dev/null"):
        pytest.skip("this machine lets nobody mount")
    try:
        assert finish(project.folder, planned[1][0]) == 1
        assert message in (project.folder / "said.txt").read_text()
        assert "Traceback" not in (project.folder / "said.txt").read_text()
        assert not list(disk.rglob("*.tar"))
        assert not list(disk.rglob("*.tmp"))
    finally:
        os.system(f"umount {shlex.quote(str(disk))}")
    for words in planned[1]:
        assert finish(project.folder, words) == 0
    assert read_results(project.folder) == undisturbed


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("size=20k", r"results/plan/mine/\S+: the disk is full; free space"),
        ("ro", "results/plan: Read-only file system"),
    ],
)
def test_a_plan_that_cannot_be_written_is_one_line(project: Project, options: str, message: str) -> None:
    disk = project.folder / "results"
    shutil.rmtree(disk)
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o {options} tmpfs {shlex.quote(str(disk))} 2>/dev/null"):
        pytest.skip("this machine lets nobody mount")
    try:
        outcome = project.snakemake("--dry-run", "tokens")
        assert re.match(f"Error: {message}", outcome.error_line)
        assert outcome.returncode == 1
        assert not list(disk.rglob("*.tmp"))
    finally:
        os.system(f"umount {shlex.quote(str(disk))}")
    assert project.dry_run("tokens").counts == {"resample": 1, "manifest": 1, "tokenize": 1, "index": 1}


def test_a_second_snakemake_starts_nothing(project: Project) -> None:
    locks = project.folder / ".snakemake/locks"
    locks.mkdir(parents=True, exist_ok=True)
    (locks / "0.output.lock").write_text("results/audio/mine/00000-of-00001.tar\n")
    outcome = project.snakemake("--profile", "local", "tokens")
    assert outcome.returncode == 1
    assert outcome.jobs == []
    assert "Error: another snakemake works in this folder, or was killed: `snakemake --unlock`" in outcome.text
    assert "LockException" not in outcome.text
    assert project.snakemake("--profile", "local", "--unlock").returncode == 0
    assert project.dry_run("tokens").counts == {"resample": 1, "manifest": 1, "tokenize": 1, "index": 1}
