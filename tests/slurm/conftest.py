"""A real SLURM of two nodes for the session, and a copy of the workflow with a small corpus to run on it."""

import fcntl
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HOME = Path("/run/musicgen-slurm")
"""State of the cluster: a fixed place, so that the next start finds and removes what a killed session left."""

CONFIG = """
corpora:
  tiny: {path: music, captions: [txt], license: CC0-1.0, num_buckets: 2}
training:
  steps: 6
  batch_size: 4
  segment_sec: 1.0
  warmup_steps: 1
  ema_every_steps: 1
  log_every_steps: 1
  validate_every_steps: 3
  num_valid_segments: 4
  checkpoint_every_steps: 3
runs:
  two_nodes: {}
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    env: dict[str, str]
    """Environment in which SLURM's commands reach it."""

    def run(
        self, *command: str | Path, timeout: float, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the submit host; after `timeout` seconds it and its children are killed."""
        return run(command, timeout=timeout, cwd=cwd, env=self.env | (env or {}))

    def jobs(self) -> list[dict[str, str]]:
        """Every job since the start, in order of submission, as `scontrol` shows it: JobId, JobState, NumNodes, ..."""
        shown = self.run("scontrol", "--oneliner", "show", "jobs", timeout=20)
        lines = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in shown.stdout.splitlines()]
        return sorted((job for job in lines if "JobId" in job), key=lambda job: int(job["JobId"]))


def run(
    command: Sequence[str | Path], *, timeout: float, cwd: Path | None = None, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two idle nodes, n1 and n2; no process, namespace or bridge is left when the session ends, however it ends."""
    with open("/tmp/musicgen-slurm.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail("another session runs tests/slurm on this machine; the cluster's names and ports are fixed")
        started = run([HERE / "start.sh"], env=os.environ | {"SLURM_TEST_HOME": str(HOME)}, timeout=200)
        if started.returncode == 3 and not os.environ.get("CI"):
            pytest.skip(f"no SLURM here: {started.stderr.strip()}")
        assert started.returncode == 0, started.stderr
        # The guard stops the cluster when its standard input ends, which it also does when this process is killed.
        guard = subprocess.Popen(
            ["bash", "-c", 'read -r _; exec "$0"', HERE / "stop.sh"],
            env=os.environ | {"SLURM_TEST_HOME": str(HOME)},
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        path = f"{HOME}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
        yield Cluster(env=os.environ | {"SLURM_CONF": f"{HOME}/conf/slurm.conf", "PATH": path, "OMP_NUM_THREADS": "1"})
        guard.stdin.close()
        assert guard.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the workflow, its profiles, a config and a corpus of twelve short pieces with captions."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("workflow", "profiles", "slurm", "local"):
        source = ROOT / name
        if source.is_symlink():
            (folder / name).symlink_to(os.readlink(source))
        else:
            shutil.copytree(source, folder / name)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "music").mkdir()
    for number in range(12):
        frequency_hz = 110 * 2 ** (number / 6)
        write_tone(folder / f"music/piece {number}.wav", frequency_hz)
        (folder / f"music/piece {number}.txt").write_text(f"a tone of {frequency_hz:.0f} Hz, number {number}\n")
    return folder


def write_tone(path: Path, frequency_hz: float, duration_sec: float = 2.5, sample_rate_hz: int = 16000) -> None:
    """Write a decaying tone as 16-bit mono WAV."""
    times_sec = (n / sample_rate_hz for n in range(int(duration_sec * sample_rate_hz)))
    samples = [int(16000 * math.exp(-t) * math.sin(2 * math.pi * frequency_hz * t)) for t in times_sec]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, sample_rate_hz, len(samples), "NONE", ""))
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
