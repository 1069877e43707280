"""Two real processes over gloo against one."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks, start_ranks
from token_corpus import tiny_config, write_corpus

from musicgen_core.config.pattern import CoarseFirstPatternConfig
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.lm.block import positions
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import build_model
from musicgen_core.patterns.apply import interleave
from musicgen_core.stages.train import run
from musicgen_core.train.checkpoint import load_best_weights, read_tensors
from musicgen_core.train.job import TrainJob
from musicgen_core.train.launch import run_rank
from musicgen_core.train.loss import Losses
from musicgen_core.train.parallel import distribute
from musicgen_core.train.ranks import open_world
from musicgen_core.train.step import Objective, autocast
from musicgen_core.util.atomic import read_jsonl


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def alone(corpus: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process."""
    run_dir = tmp_path_factory.mktemp("alone")
    run(tiny_config(), manifests=[corpus[0]], indexes=[corpus[1]], run_dir=run_dir)
    return run_dir


def make_job(corpus: tuple[Path, Path], run_dir: Path, config: TrainStageConfig | None = None) -> TrainJob:
    return TrainJob(config or tiny_config(), (corpus[0],), (corpus[1],), run_dir, 1)


def assert_same_run(run_dir: Path, alone: Path) -> None:
    lines, expected = read_jsonl(run_dir / "history.jsonl"), read_jsonl(alone / "history.jsonl")
    assert [(a["kind"], a["step"]) for a in lines] == [(b["kind"], b["step"]) for b in expected]
    for a, b in zip(lines, expected, strict=True):
        assert a.get("samples") == b.get("samples")
        assert a["loss_per_codebook"] == pytest.approx(b["loss_per_codebook"], abs=1e-5)
        # AdamW forgives a gradient of another scale; its norm, and the squares that it remembers, do not
        assert a.get("grad_norm", 0.0) == pytest.approx(b.get("grad_norm", 0.0), rel=1e-3)
    state, expected_state = (read_tensors(max((one / "checkpoints").glob("step-*"))) for one in (run_dir, alone))
    assert state.keys() == expected_state.keys()
    for name in (name for name in state if name.endswith(".exp_avg_sq")):
        torch.testing.assert_close(state[name], expected_state[name], atol=1e-7, rtol=1e-2, msg=name)
    weights, expected_weights = load_best_weights(run_dir)[0], load_best_weights(alone)[0]
    for name, weight in expected_weights.items():
        torch.testing.assert_close(weights[name], weight, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "options", [{}, {"sharding": "none"}, {"micro_batch_size": 1}, {"sharding": "none", "micro_batch_size": 1}]
)
def test_two_processes_equal_one(
    options: dict[str, Any], corpus: tuple[Path, Path], alone: Path, tmp_path: Path
) -> None:
    job = make_job(corpus, tmp_path / "run", tiny_config(**options))
    assert run_ranks(2, run_rank, (job,), tmp_path / "log") == [0, 0]
    assert_same_run(job.run_dir, alone)
    said = (tmp_path / "log.0").read_text()
    assert ("0.03 M of them on each process" in said) == ("sharding" not in options)
    assert (tmp_path / "log.1").read_text() == ""


@pytest.mark.parametrize(
    ("sharding", "per_node", "share"), [("hybrid", 2, "0.03"), ("full", 4, "0.01"), ("none", 4, "")]
)
def test_four_processes_equal_one(
    sharding: str, per_node: int, share: str, corpus: tuple[Path, Path], alone: Path, tmp_path: Path
) -> None:
    """Hybrid: two nodes of two processes, each of which holds half of the weights."""
    job = make_job(corpus, tmp_path / "run", tiny_config(sharding=sharding))
    assert run_ranks(4, run_rank, (job,), tmp_path / "log", per_node) == [0] * 4
    assert_same_run(job.run_dir, alone)
    assert (f"{share} M of them on each process" if share else "") in (tmp_path / "log.0").read_text()


def test_hybrid_shards_resume_at_another_world_size(corpus: tuple[Path, Path], alone: Path, tmp_path: Path) -> None:
    config = tiny_config(sharding="hybrid")
    job = make_job(corpus, tmp_path / "run", config)
    processes = start_ranks(4, run_rank, (job,), tmp_path / "first", 2)
    wait_for_lines(job.run_dir / "history.jsonl", 6)
    os.kill(processes[-1].pid, signal.SIGTERM)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [75] * 4
    assert run_ranks(1, run_rank, (job,), tmp_path / "second") == [0]
    assert_same_run(job.run_dir, alone)


def look_at_positions(job: TrainJob) -> None:
    """The first layer's input of a sharded bf16 model is float32 and holds exact positions, far out in the sequence."""
    config = job.config
    with open_world("cpu", 1) as world:
        model = build_model(config.model, config.conditioner, config.codec)
        initialize(model, 0)
        objective = Objective(model)
        distribute(objective, model.transformer.layers, world, config.training)
        seen: list[torch.Tensor] = []
        model.transformer.layers[0].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
        codes_BKT = torch.randint(0, 64, (1, 4, 1500), generator=torch.Generator().manual_seed(0))
        sequence_BKS, _ = interleave(codes_BKT, model.pattern(1500), model.special, keep_only_valid=True)
        with autocast(world, config.training):
            objective(sequence_BKS, codes_BKT, torch.ones(1, 1500).bool(), model.prepare([None]))
        # the root's weights stay whole after a forward pass, until the backward pass
        summed_BSD = sum(table.weight[sequence_BKS[:, k]] for k, table in enumerate(model.emb))
        exact_SD = positions(0, 1501, 32, torch.device("cpu"))
        assert seen[0].dtype == torch.float32
        torch.testing.assert_close(seen[0].detach() - summed_BSD.detach(), exact_SD[None], atol=1e-5, rtol=0)


def test_positions_are_float32_under_bf16_and_shards(corpus: tuple[Path, Path], tmp_path: Path) -> None:
    job = make_job(corpus, tmp_path / "run", tiny_config(precision="bf16"))
    codes = run_ranks(2, look_at_positions, (job,), tmp_path / "log")
    assert codes == [0, 0], (tmp_path / "log.0").read_text()


def test_uneven_nodes_are_refused(corpus: tuple[Path, Path], tmp_path: Path) -> None:
    job = make_job(corpus, tmp_path / "run", tiny_config(sharding="hybrid", batch_size=3))
    assert run_ranks(3, run_rank, (job,), tmp_path / "log", 2) == [1] * 3
    said = (tmp_path / "log.0").read_text()
    assert "the 3 processes are no rows of 2 per node (their LOCAL_RANK: 0 1 0); start as many on each" in said
    assert said.count("\n") == 1
    assert (tmp_path / "log.1").read_text() == ""


def test_another_pattern_over_padded_segments(tmp_path: Path) -> None:
    """Every codebook's loss is normalised by its own number of codes in the global batch."""
    short = write_corpus(tmp_path, num_frames=20)
    pattern = CoarseFirstPatternConfig(kind="coarse_first", delays=(0, 1, 2))
    options = {"segment_sec": 0.5, "min_segment_ratio": 0.1, "steps": 6, "micro_batch_size": 1}
    config = tiny_config({"pattern": pattern}, **options)
    run(config, manifests=[short[0]], indexes=[short[1]], run_dir=tmp_path / "one")
    job = make_job(short, tmp_path / "two", config)
    assert run_ranks(2, run_rank, (job,), tmp_path / "log") == [0, 0]
    assert_same_run(job.run_dir, tmp_path / "one")


@pytest.mark.parametrize(("sharding", "size"), [("full", 2), ("none", 2), ("hybrid", 4)])
def test_bf16_stays_near_one_process(sharding: str, size: int, corpus: tuple[Path, Path], tmp_path: Path) -> None:
    config = tiny_config(precision="bf16", steps=5, activation_checkpointing=True, sharding=sharding)
    job = make_job(corpus, tmp_path / "two", config)
    assert run_ranks(size, run_rank, (job,), tmp_path / "log", 2) == [0] * size, (tmp_path / "log.0").read_text()
    run(config, manifests=[corpus[0]], indexes=[corpus[1]], run_dir=tmp_path / "one")
    for a, b in zip(*(read_jsonl(tmp_path / n / "history.jsonl") for n in ("one", "two")), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=2e-2)


@pytest.mark.parametrize("sizes", [(2, 1), (1, 2)])
def test_a_stop_on_one_rank_saves_on_all_and_resumes_at_another_world_size(
    sizes: tuple[int, int], corpus: tuple[Path, Path], alone: Path, tmp_path: Path
) -> None:
    job = make_job(corpus, tmp_path / "run")
    processes = start_ranks(sizes[0], run_rank, (job,), tmp_path / "first")
    wait_for_lines(job.run_dir / "history.jsonl", 6)
    os.kill(processes[-1].pid, signal.SIGTERM)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [75] * sizes[0]
    said = (tmp_path / "first.0").read_text()
    assert "stopped by a signal, saved at step" in said
    assert run_ranks(sizes[1], run_rank, (job,), tmp_path / "second") == [0] * sizes[1]
    assert "resumes at step" in (tmp_path / "second.0").read_text()
    assert_same_run(job.run_dir, alone)


def test_frozen_weights_stay_over_processes_and_a_resume(corpus: tuple[Path, Path], tmp_path: Path) -> None:
    config = tiny_config(freeze=("layers 0-0", "embeddings"))
    run(config, manifests=[corpus[0]], indexes=[corpus[1]], run_dir=tmp_path / "alone")
    job = make_job(corpus, tmp_path / "run", config)
    processes = start_ranks(2, run_rank, (job,), tmp_path / "first")
    wait_for_lines(job.run_dir / "history.jsonl", 6)
    os.kill(processes[0].pid, signal.SIGTERM)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [75] * 2
    assert run_ranks(2, run_rank, (job,), tmp_path / "second") == [0] * 2
    assert_same_run(job.run_dir, tmp_path / "alone")
    model = build_model(config.model, config.conditioner, config.codec)
    initialize(model, config.seed)
    weights = load_best_weights(job.run_dir)[0]
    stay = {name for name, weight in model.state_dict().items() if torch.equal(weight, weights[name])}
    assert stay == {name for name in weights if name.startswith(("emb.", "transformer.layers.0."))}


def wait_for_lines(path: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_text().count("\n") < count:
        assert time.monotonic() < deadline, f"{path} has no {count} lines"
        time.sleep(0.001)


def break_step(job: TrainJob, spoil: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Train with the loss of rank 1 spoilt at its seventh step."""
    from musicgen_core.train import step

    real, calls = step.sum_losses, []

    def spoilt(*arguments: Any) -> Losses:
        calls.append(1)
        losses = real(*arguments)
        if os.environ["RANK"] != "1" or len(calls) != 7:
            return losses
        return losses._replace(sums_BK=spoil(losses.sums_BK))

    step.sum_losses = spoilt
    run_rank(job)


def scale_gradients(job: TrainJob, factor: float) -> None:
    """Train with all gradients of another size, which the clipping and AdamW hide from the losses."""
    from musicgen_core.train import step

    real = step.sum_losses

    def scaled(*arguments: Any) -> Losses:
        losses = real(*arguments)
        return losses._replace(total=losses.total * factor)

    step.sum_losses = scaled
    run_rank(job)


def test_gradients_of_another_size_are_seen(corpus: tuple[Path, Path], alone: Path, tmp_path: Path) -> None:
    """Of `assert_same_run`: a sum where a mean belongs, or the reverse, does not pass it."""
    job = make_job(corpus, tmp_path / "run")
    assert run_ranks(2, scale_gradients, (job, 0.5), tmp_path / "log") == [0, 0]
    with pytest.raises(AssertionError):
        assert_same_run(job.run_dir, alone)


def fail(sums: torch.Tensor) -> torch.Tensor:
    raise KeyError("made to fail")


def poison(sums: torch.Tensor) -> torch.Tensor:
    return sums * float("nan")


def test_a_rank_that_raises_ends_the_others_at_once(corpus: tuple[Path, Path], tmp_path: Path) -> None:
    begun = time.monotonic()
    codes = run_ranks(2, break_step, (make_job(corpus, tmp_path / "run"), fail), tmp_path / "log")
    assert codes == [1, 1]
    assert time.monotonic() - begun < 60
    said = (tmp_path / "log.1").read_text()
    assert said.startswith("train: process 1 failed:\nTraceback")
    assert "KeyError: 'made to fail'" in said
    assert (tmp_path / "log.1").stat().st_mtime_ns <= (tmp_path / "log.0").stat().st_mtime_ns


def test_not_a_number_on_one_rank_stops_all_and_names_rank_and_tracks(
    corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    job = make_job(corpus, tmp_path / "run")
    assert run_ranks(2, break_step, (job, poison), tmp_path / "log") == [1, 1]
    keys = [json.loads(line)["track"] for line in (corpus[0] / "train.jsonl").read_text().splitlines()]
    for rank in (0, 1):
        said = (tmp_path / f"log.{rank}").read_text()
        assert "NonFiniteError: step 7: the loss is not finite; process 1: tracks " in said
        assert any(key in said for key in keys)
    assert [p.name for p in (job.run_dir / "checkpoints").glob("step-*")] == ["step-00000005"]


def test_one_refusal_is_said_once(corpus: tuple[Path, Path], tmp_path: Path) -> None:
    job = make_job(corpus, tmp_path / "run", tiny_config(batch_size=3))
    assert run_ranks(2, run_rank, (job,), tmp_path / "log") == [1, 1]
    said = (tmp_path / "log.0").read_text()
    assert said.startswith("train: error: training.batch_size 3 is not a multiple of 2 = 2 processes x")
    assert said.count("\n") == 1
    assert (tmp_path / "log.1").read_text() == ""
