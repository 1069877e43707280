"""A stage that is stopped in its middle leaves either the whole file or none."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from small_music import make_tone
from small_project import Project

from musicgen_core.data.shard_read import list_members

COMMAND = [sys.executable, "-m", "musicgen_core.cli"]


def commands(project: Project) -> dict[str, list[str]]:
    """The data stages' own command lines, as the rules would run them."""
    shown = project.dry_run("tokens", "--printshellcmds").text
    lines = [line.split("Shell command: ")[1] for line in shown.splitlines() if "Shell command: musicgen" in line]
    return {(words := shlex.split(line.split(" 2>&1")[0]))[1]: [*COMMAND, *words[1:]] for line in lines}


def _num_written(folder: Path) -> int:
    """Bytes of the temporary file that is being written."""
    return sum(path.stat().st_size for path in list(folder.glob(".*.tmp")) if path.exists())


def test_a_stopped_resample_leaves_no_torn_file(project: Project) -> None:
    project.config["corpora"]["mine"]["num_buckets"] = 1
    for extra in range(20):
        make_tone(project.music / f"long {extra}.wav", 300 + 10 * extra, duration_sec=60)
    command = commands(project)["resample"]
    tar = project.folder / "results/audio/mine/00000-of-00001.tar"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        for num_bytes in (1, 400_000):
            process = subprocess.Popen(
                command,
                cwd=project.folder,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stderr=subprocess.PIPE,
                text=True,
            )
            deadline = time.monotonic() + 60
            while _num_written(tar.parent) < num_bytes and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.001)
            process.send_signal(number)
            _, shown = process.communicate(timeout=60)
            assert process.returncode != 0, shown
            assert not tar.exists()
            assert "Traceback" not in shown
            if number != signal.SIGKILL:
                assert list(tar.parent.iterdir()) == []
    assert subprocess.run(command, cwd=project.folder, capture_output=True).returncode == 0
    assert len(list_members(tar)) == 29


def test_a_stopped_workflow_goes_on_where_it_was(project: Project) -> None:
    project.dry_run("tokens")  # writes the config
    process = subprocess.Popen(
        [Path(sys.executable).with_name("snakemake"), "--profile", "local", "tokens"],
        cwd=project.folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(project.folder.glob("results/logs/tokenize/mine/*.log")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=120) != 0
    assert not list(project.folder.glob("results/**/.*.tmp"))
    resumed = project.run("tokens")
    assert 0 < len(resumed.jobs) < 8
    assert project.run("tokens").jobs == []
