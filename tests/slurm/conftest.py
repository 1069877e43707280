"""A real SLURM of two nodes for the session, and a copy of the workflow with a small corpus to run on it."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HOME = Path("/run/musicgen-slurm")
"""State of the cluster: a fixed place, so that the next start finds and removes what a killed session left."""

CONFIG = """
corpora:
  demo: {path: demo, captions: [json, txt, metadata.csv, tags], num_buckets: 2}
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
    with subprocess.Popen(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two idle nodes, n1 and n2; no process, namespace or bridge is left when the session ends, however it ends."""
    if os.geteuid() != 0:
        refuse("needs root")
    with open(HOME.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail("another session runs tests/slurm on this machine; the cluster's names and ports are fixed")
        # The guard stops the cluster when its standard input ends, which it also does when this process is killed.
        guard = subprocess.Popen(
            ["bash", "-c", 'read -r _; exec "$0"', HERE / "stop.sh"],
            env=os.environ | {"SLURM_TEST_HOME": str(HOME)},
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            started = run([HERE / "start.sh"], env=os.environ | {"SLURM_TEST_HOME": str(HOME)}, timeout=120)
            if started.returncode == 3:
                refuse(started.stderr.strip())
            if started.returncode != 0:
                pytest.fail(started.stderr, pytrace=False)
            path = f"{HOME}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
            yield Cluster(
                env=os.environ | {"SLURM_CONF": f"{HOME}/conf/slurm.conf", "PATH": path, "OMP_NUM_THREADS": "1"}
            )
        finally:
            guard.stdin.close()
            status = guard.wait(timeout=60)
        assert status == 0, "tests/slurm/stop.sh says what is left"


def refuse(reason: str) -> NoReturn:
    """Skip where the cluster cannot run; in CI, where it must, fail."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no SLURM here: {reason}")


@pytest.fixture(scope="session")
def project(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the workflow, its profiles, a config of a tiny run and twelve pieces of music."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("workflow", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("slurm", "local"):
        (folder / name).symlink_to((ROOT / name).readlink())
    (folder / "config.yaml").write_text(CONFIG)
    made = cluster.run("musicgen", "demo-corpus", "--out", "demo", "--num-tracks", "12", cwd=folder, timeout=60)
    assert made.returncode == 0, made.stderr
    return folder
