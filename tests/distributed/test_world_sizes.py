"""A run that is stopped again and again and resumed by another number of processes each time: 1, 2, 4, any to any."""

import os
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from token_corpus import tiny_config, write_corpus

from musicgen_core.lm.model import build_model
from musicgen_core.stages import STAGES
from musicgen_core.stages.train import run
from musicgen_core.train.checkpoint import Checkpoints, read_tensors
from musicgen_core.train.ema import Ema
from musicgen_core.train.job import TrainJob
from musicgen_core.train.launch import run_rank
from musicgen_core.train.optim import build_optimizer
from musicgen_core.train.parallel import distribute
from musicgen_core.train.ranks import open_world
from musicgen_core.train.step import Objective
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


def test_another_size_with_micro_batches_that_divide_it_goes_on(tmp_path: Path) -> None:
    """One process in micro-batches of 4, then two: refused with the remedy, which then helps."""
    corpus = write_corpus(tmp_path / "corpus")
    config = tiny_config(steps=8, checkpoint_every_steps=4, micro_batch_size=4)
    run(config, manifests=[corpus[0]], indexes=[corpus[1]], run_dir=tmp_path / "alone")
    run(config, manifests=[corpus[0]], indexes=[corpus[1]], run_dir=tmp_path / "run")
    (tmp_path / "run/DONE").unlink()
    (tmp_path / "run/checkpoints/step-00000008/manifest.json").unlink()
    version = STAGES["train"].version
    job = TrainJob(config, (corpus[0],), (corpus[1],), tmp_path / "run", 1, stage_version=version)
    assert run_ranks(2, run_rank, (job,), tmp_path / "refused") == [1, 1]
    assert "is not a multiple of 8 = 2 processes x micro-batches of 4" in (tmp_path / "refused.0").read_text()
    training = replace(config.training, micro_batch_size=2, sharding="none")
    job = replace(job, config=replace(config, training=training))
    assert run_ranks(2, run_rank, (job,), tmp_path / "log") == [0, 0], (tmp_path / "log.0").read_text()
    said = (tmp_path / "log.0").read_text()
    assert "train: resume: micro_batch_size 4 -> 2; sharding full -> none (the same run; numbers may differ" in said
    assert "resumes at step 4 of 8" in said
    lines, expected = (read_jsonl(tmp_path / name / "history.jsonl") for name in ("run", "alone"))
    assert [one.get("samples") for one in lines] == [one.get("samples") for one in expected]
    assert [one["loss"] for one in lines] == pytest.approx([one["loss"] for one in expected], abs=1e-5)


def load_and_save(job: TrainJob) -> None:
    """Cut the newest set anew for these processes, and train no step."""
    config, t = job.config, job.config.training
    with open_world("cpu", 1) as world:
        model = build_model(config.model, config.conditioner, config.codec)
        objective = Objective(model)
        distribute(objective, model.transformer.layers, world, t)
        optimizer, ema = build_optimizer(model, t), Ema(model, t.ema_decay)
        sets = Checkpoints(job.run_dir, world, 9)
        found = sets.load_newest(model, optimizer, ema)
        assert found is not None
        sets.save(found["step"] + 1, model, optimizer, ema, {"data": found["data"]})
        sets.writer.finish()
        sets.writer.close()
        world.barrier()


def test_sets_cut_for_other_sizes_hold_the_same_bits(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    config = tiny_config(steps=3, checkpoint_every_steps=100)
    run(config, manifests=[corpus[0]], indexes=[corpus[1]], run_dir=tmp_path / "run")
    job = TrainJob(config, (corpus[0],), (corpus[1],), tmp_path / "run", 1)
    whole = read_tensors(tmp_path / "run/checkpoints/step-00000003")
    for kind in ("model.", "optimizer.state.", "ema."):
        assert any(name.startswith(kind) for name in whole), sorted(whole)[:3]
    for step, size in enumerate((2, 4, 1), start=4):
        assert run_ranks(size, load_and_save, (job,), tmp_path / f"log.{size}") == [0] * size
        folder = tmp_path / f"run/checkpoints/step-{step:08d}"
        assert len(list(folder.glob("*.distcp"))) == size
        found = read_tensors(folder)
        assert found.keys() == whole.keys()
        for name, tensor in whole.items():
            assert found[name].numpy().tobytes() == tensor.numpy().tobytes(), (size, name)
