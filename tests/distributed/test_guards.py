"""What one process does to the others: it raises, stalls, freezes, dies, or runs out of memory."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks, start_ranks
from token_corpus import tiny_config, write_corpus

from musicgen_core.config.upkeep import UpkeepConfig
from musicgen_core.train.checkpoint import read_tensors
from musicgen_core.train.hub import FROZEN_SEC
from musicgen_core.train.job import TrainJob
from musicgen_core.train.launch import run_rank

LIMIT_SEC = 2.0
SET_UP_SEC = 10.0
ENDED_SEC = 10.0


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def make_job(corpus: tuple[Path, Path], run_dir: Path, **training: Any) -> TrainJob:
    upkeep = UpkeepConfig(stall_limit_sec=LIMIT_SEC)
    return TrainJob(tiny_config(**training), (corpus[0],), (corpus[1],), run_dir, 1, upkeep=upkeep)


def disturb(job: TrainJob, rank: str, act: Callable[[], None]) -> None:
    """Train; at its seventh forward pass this rank does something."""
    from musicgen_core.train import step

    real, calls = step.sum_losses, []

    def disturbed(*arguments: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if os.environ["RANK"] == rank and len(calls) == 7:
            (job.run_dir / "when").write_text(str(time.time()))
            act()
        return real(*arguments)

    step.sum_losses = disturbed
    run_rank(job)


def fail() -> None:
    raise KeyError("made to fail")


def sleep() -> None:
    time.sleep(100)


def freeze() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def end_all(size: int, arguments: tuple[Any, ...], log: Path) -> tuple[list[int | None], list[str], float]:
    """Run until all but frozen processes have ended -> exit codes, what each said, seconds since the disturbance."""
    processes = start_ranks(size, disturb, arguments, log)
    deadline = time.monotonic() + 100
    while sum(p.exitcode is None for p in processes) > (arguments[2] is freeze):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    seconds = time.time() - float((arguments[0].run_dir / "when").read_text())
    codes = [p.exitcode for p in processes]
    for process in processes:
        if process.exitcode is None:
            process.kill()
            process.join()
    return codes, [(log.parent / f"{log.name}.{rank}").read_text() for rank in range(size)], seconds


@pytest.mark.parametrize(("rank", "sharding"), [("0", "none"), ("2", "full")])
def test_a_rank_that_raises_speaks_first_and_ends_all(
    rank: str, sharding: str, corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    job = make_job(corpus, tmp_path / "run", batch_size=3, sharding=sharding)
    codes, said, seconds = end_all(3, (job, rank, fail), tmp_path / "log")
    assert codes == [1, 1, 1]
    assert seconds < ENDED_SEC
    guilty = said.pop(int(rank))
    assert f"train: process {rank} failed:\nTraceback" in guilty
    assert "KeyError: 'made to fail'" in guilty
    for text in said:
        assert text.endswith(f"ends: process {rank} failed: KeyError: 'made to fail'\n")
        assert "Traceback" not in text


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_rank_that_stalls_is_named_with_its_stack(rank: str, corpus: tuple[Path, Path], tmp_path: Path) -> None:
    codes, said, seconds = end_all(2, (make_job(corpus, tmp_path / "run"), rank, sleep), tmp_path / "log")
    assert codes == [1, 1]
    assert seconds < LIMIT_SEC + ENDED_SEC
    guilty = said.pop(int(rank))
    assert f"train: process {rank} stalls: process {rank} has made no progress for 2 s" in guilty
    assert "it had finished 6 steps and was at: forward and backward" in guilty
    assert f'  File "{__file__}", line {sleep.__code__.co_firstlineno + 1}, in sleep\n' in guilty
    assert f"ends: process {rank} has made no progress" in said[0]


def hang_at_the_seventh_batch(job: TrainJob) -> None:
    """Train from a file system that stops answering."""
    from musicgen_core.data import batches

    real, calls = batches._make_batch, []

    def make_batch(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 7:
            time.sleep(100)
        return real(*arguments)

    batches._make_batch = make_batch
    run_rank(job)


@pytest.mark.parametrize(
    ("act", "phase", "hanging"),
    [(sleep, "forward and backward, computing", "sleep"), (None, "data, waiting for a", "make_batch")],
)
def test_alone_a_step_or_a_read_that_hangs_is_named_with_its_stack(
    act: Callable[[], None] | None, phase: str, hanging: str, corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    job = make_job(corpus, tmp_path / "run")
    if act is None:
        codes = run_ranks(1, hang_at_the_seventh_batch, (job,), tmp_path / "log")
    else:
        codes = run_ranks(1, disturb, (job, "0", act), tmp_path / "log")
    assert codes == [1]
    said = (tmp_path / "log.0").read_text()
    assert (
        f"train: error: no progress for 2 s (upkeep.stall_limit_sec); 6 steps were finished, and it was at: {phase}"
        in said
    )
    assert (str(corpus[1].parent) in said) == (act is None)
    assert re.search(rf'  File "{__file__}", line \d+, in {hanging}\n', said)
    assert (tmp_path / "run/checkpoints/step-00000005").is_dir()


@pytest.mark.parametrize(
    ("rank", "act", "line"),
    [
        ("0", die, "process 0 is gone"),
        ("1", die, "process 1 is gone; it had finished"),
        ("0", freeze, "process 0 has given no sign of life for 2 s"),
        ("1", freeze, "process 1 has given no sign of life for 2 s"),
    ],
)
def test_a_rank_that_dies_or_freezes_is_named(
    rank: str, act: Callable[[], None], line: str, corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    codes, said, seconds = end_all(2, (make_job(corpus, tmp_path / "run"), rank, act), tmp_path / "log")
    assert codes[1 - int(rank)] == 1
    assert seconds < LIMIT_SEC + ENDED_SEC
    assert line in said[1 - int(rank)]
    assert "Traceback" not in said[1 - int(rank)]


def limit_memory(job: TrainJob, rank: str, most: int) -> None:
    """Train where more than `most` segments at a time do not fit into the memory of this rank."""
    from musicgen_core.train import step

    real = step.sum_losses

    def short(*arguments: torch.Tensor) -> torch.Tensor:
        if os.environ["RANK"] == rank and len(arguments[0]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return real(*arguments)

    step.sum_losses = short
    run_rank(job)


def assert_halved(job: TrainJob, size: int, said: str, folder: Path) -> None:
    """It said so, and it ended as the run with the smaller micro-batch did."""
    batch = job.config.training.batch_size
    assert f"starts again with a micro-batch of 1 per process; the global batch stays {batch}." in said
    assert f"batch of {batch} segments of 1 s = {size} processes x {batch // size} rounds x 1" in said
    assert "Traceback" not in said
    assert json.loads((job.run_dir / "micro_batch.json").read_text()) == {"micro_batch_size": 1}
    training = replace(job.config.training, micro_batch_size=1)
    small = replace(job, run_dir=folder / "small", config=replace(job.config, training=training))
    assert run_ranks(size, run_rank, (small,), folder / "small.log") == [0] * size
    sets = [read_tensors(run_dir / "checkpoints/step-00000006") for run_dir in (job.run_dir, small.run_dir)]
    assert all(torch.equal(sets[0][name], sets[1][name]) for name in sets[0])


@pytest.mark.parametrize(("size", "rank"), [(1, "0"), (2, "1")])
def test_too_little_memory_halves_the_micro_batch_on_all(
    size: int, rank: str, corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    job = make_job(corpus, tmp_path / "run", batch_size=4 * size, steps=6)
    codes = []
    for _ in range(3):  # these ranks cannot start again in their place: multiprocessing has started them
        codes.append(run_ranks(size, limit_memory, (job, rank, 1), tmp_path / "log"))
    assert codes == [[76] * size, [76] * size, [0] * size]
    assert_halved(job, size, "".join((tmp_path / f"log.{n}").read_text() for n in range(size)), tmp_path)


@pytest.mark.timeout(600)
def test_commands_start_again_in_their_place(corpus: tuple[Path, Path], tmp_path: Path) -> None:
    """Ranks as torchrun starts them."""
    job = make_job(corpus, tmp_path / "run", batch_size=4, steps=6)
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, str(Path(__file__).with_name("small_memory.py")), "train"]
    command += ["--config", json.dumps(asdict(job.config)), "--manifests", str(job.manifests[0])]
    command += ["--indexes", str(job.indexes[0]), "--run-dir", str(job.run_dir)]
    shared = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}
    shared |= {"MOST": "1", "WHERE": "1", "OMP_NUM_THREADS": "1"}
    ranks = []
    for rank in "01":
        environment = {**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank}
        ranks.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        said = [process.communicate(timeout=500)[1] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
            process.wait()
            process.stderr.close()
    assert [process.returncode for process in ranks] == [0, 0], said
    assert_halved(job, 2, "".join(said), tmp_path)


def test_a_stall_of_the_whole_job_is_none(corpus: tuple[Path, Path], tmp_path: Path) -> None:
    """SLURM suspends jobs by SIGSTOP: all processes rest, and go on."""
    job = make_job(corpus, tmp_path / "run", steps=40)
    processes = start_ranks(2, run_rank, (job,), tmp_path / "log")
    history = job.run_dir / "history.jsonl"
    deadline = time.monotonic() + 100
    while not history.exists() or history.read_text().count("\n") < 6:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for process in processes:
            os.kill(process.pid, number)
        time.sleep(FROZEN_SEC + LIMIT_SEC if number == signal.SIGSTOP else 0)
    for process in processes:
        process.join(100)
    assert [process.exitcode for process in processes] == [0, 0]


def hang_in_set_up(job: TrainJob, rank: str) -> None:
    """Train; on this rank the tracks lie on a file system that stops answering."""
    from musicgen_core.train import hub, setup

    hub.SET_UP_LEAST_SEC = SET_UP_SEC
    real, calls = setup.open_tracks, []

    def open_tracks(*arguments: Any) -> Any:
        calls.append(1)
        if os.environ["RANK"] == rank and len(calls) == (3 if rank == "0" else 1):  # it has checked both splits before
            sleep()
        return real(*arguments)

    setup.open_tracks = open_tracks
    run_rank(job)


@pytest.mark.parametrize(("size", "rank"), [(1, "0"), (2, "1")])
def test_a_set_up_that_hangs_is_named_with_its_stack(
    size: int, rank: str, corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    """Alone, and with others."""
    job = make_job(corpus, tmp_path / "run")
    codes = run_ranks(size, hang_in_set_up, (job, rank), tmp_path / "log", limit_sec=60)
    assert codes == [1] * size
    said = [(tmp_path / f"log.{number}").read_text() for number in range(size)]
    guilty = said.pop(int(rank))
    assert f"no progress for {SET_UP_SEC:g} s (2.5 x upkeep.stall_limit_sec in a set-up); it was at: set-up" in guilty
    assert f"opening the tracks of {corpus[1].parent}" in guilty
    assert re.search(rf'  File "{__file__}", line \d+, in open_tracks\n', guilty)
    if said:
        assert f"ends: process {rank} has made no progress for {SET_UP_SEC:g} s" in said[0]
        assert "Traceback" not in said[0]
