"""A training job on the cluster, followed by a process as a user's terminal would follow it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from token_corpus import tiny_config

from musicgen_core.util.atomic import read_jsonl

HERE = Path(__file__).parent
CONFIG = tiny_config(steps=3000, validate_every_steps=200, checkpoint_every_steps=40)


@dataclass
class Training:
    run_dir: Path
    process: subprocess.Popen
    output: Path

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def job_id(self) -> str:
        return json.loads((self.run_dir / "job.json").read_text())["job_id"]

    @property
    def losses(self) -> dict[int, float]:
        """Step -> loss of every step so far; ValueError when a step is there twice."""
        path = self.run_dir / "history.jsonl"
        lines = [line for line in read_jsonl(path) if line["kind"] == "train"] if path.exists() else []
        assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
        return {line["step"]: line["loss"] for line in lines}

    @property
    def starts(self) -> list[int]:
        """The step at which each start of the job began."""
        return [int(step) for step in re.findall(r"^train: (?:resumes|starts) at step (\d+) of", self.said, re.M)]

    def wait_for(self, words: str, seconds: float = 120) -> None:
        wait_until(lambda: words in self.said or self.process.poll() is not None, seconds, lambda: self.said)
        assert words in self.said, self.said

    def wait_for_step(self, step: int) -> None:
        wait_until(lambda: f"train: step {step}/" in self.said, 120, lambda: self.said)

    def end(self, seconds: float = 400) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it hangs:\n{self.said}") from None


def command(corpus: tuple[Path, Path], run_dir: Path, **where: int | str) -> list[str]:
    """`musicgen train`, in the shape of tests/slurm/job_rank.py."""
    words = [sys.executable, str(HERE / "job_rank.py"), "--config", json.dumps(asdict(CONFIG))]
    words += ["--manifests", str(corpus[0]), "--indexes", str(corpus[1]), "--run-dir", str(run_dir)]
    for name, value in where.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def start(env: dict[str, str], corpus: tuple[Path, Path], run_dir: Path, act: str = "slow", **where: int) -> Training:
    """Submit and follow. Ctrl-C is what it is in a terminal, whatever started these tests."""
    output = run_dir.with_suffix(f".{time.monotonic_ns()}.txt")
    words = command(corpus, run_dir, **{"launcher": "submitit", "nodes": 2, "memory_mb": 2000, **where})
    with open(output, "w") as handle:
        process = subprocess.Popen(
            words,
            env=env | {"ACT": act, "PYTHONPATH": str(HERE)},
            stderr=handle,
            start_new_session=True,
            preexec_fn=listen_to_ctrl_c,
        )
    return Training(run_dir, process, output)


def listen_to_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until(test: Callable[[], bool], seconds: float = 120, say: Callable[[], str] = str) -> None:
    end = time.monotonic() + seconds * float(os.environ.get("SLURM_TEST_PATIENCE", "1"))
    while not test():
        assert time.monotonic() < end, f"waited in vain; so far:\n{say()}"
        time.sleep(0.1)
