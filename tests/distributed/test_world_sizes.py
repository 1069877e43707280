"""A run that is stopped again and again and resumed by another number of processes each time: 1, 2, 4, any to any."""

import os
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from token_corpus import tiny_config, write_corpus

from musicgen_core.stages.train import run
from musicgen_core.train.checkpoint import read_tensors
from musicgen_core.train.job import TrainJob
from musicgen_core.train.launch import run_rank
from musicgen_core.util.atomic import read_jsonl

SIZES = (1, 2, 4, 1, 4, 2, 1)
"""Every ordered pair of different ones follows each other once."""

STOPS = (3, 6, 9, 12, 15, 18, 20)


def train_until(job: TrainJob, last: int) -> None:
    """Train; the last process gets a signal within step `last`."""
    from musicgen_core.train import loop

    real = loop.train_step

    def step(*arguments: Any, **options: Any) -> Any:
        if options["step"] + 1 == last < 20 and int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **options)

    loop.train_step = step
    run_rank(job)


def test_any_size_goes_on_from_any_other_with_weights_optimizer_and_average(tmp_path: Path) -> None:
    assert len(set(pairwise(SIZES))) == 6
    corpus = write_corpus(tmp_path / "corpus")
    config = tiny_config(checkpoint_every_steps=100)
    run(config, manifests=[corpus[0]], indexes=[corpus[1]], run_dir=tmp_path / "alone")
    job = TrainJob(config, (corpus[0],), (corpus[1],), tmp_path / "run", 1)
    for size, last in zip(SIZES, STOPS, strict=True):
        log = tmp_path / f"log.{last}"
        assert run_ranks(size, train_until, (job, last), log) == [75 if last < 20 else 0] * size
        said = (tmp_path / f"log.{last}.0").read_text()
        assert (f"resumes at step {last - 3} of 20" in said) == (3 < last < 20), said
        assert last == 20 or f"saved at step {last};" in said
    lines, expected = (read_jsonl(tmp_path / name / "history.jsonl") for name in ("run", "alone"))
    assert [(one["kind"], one["step"], one.get("samples")) for one in lines] == [
        (one["kind"], one["step"], one.get("samples")) for one in expected
    ]
    for one, other in zip(lines, expected, strict=True):
        assert one["loss_per_codebook"] == pytest.approx(other["loss_per_codebook"], abs=1e-5)
    state, whole = (read_tensors(tmp_path / name / "checkpoints/step-00000020") for name in ("run", "alone"))
    assert state.keys() == whole.keys()
    for kind in ("model.", "optimizer.", "ema."):
        assert any(name.startswith(kind) for name in state), sorted(state)[:3]
    for name, tensor in whole.items():
        torch.testing.assert_close(
            state[name], tensor, atol=1e-4, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )
