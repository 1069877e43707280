"""Every optimizer on two real processes: losses as on one, and state that another number of them takes over."""

from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from token_corpus import tiny_config, write_corpus

from musicgen_core.config.optimization import DAdaptAdamConfig, LionConfig, MuonConfig
from musicgen_core.stages import STAGES
from musicgen_core.stages.train import run
from musicgen_core.train.checkpoint import load_best_weights
from musicgen_core.train.job import TrainJob
from musicgen_core.train.launch import run_rank
from musicgen_core.util.atomic import read_jsonl

OPTIONS: list[dict[str, Any]] = [
    {"optimizer": LionConfig(kind="lion"), "learning_rate": 3e-4},
    {"optimizer": DAdaptAdamConfig(kind="dadapt_adam", initial_d=1e-3), "learning_rate": 1.0},
    {"optimizer": MuonConfig(kind="muon")},
    {"freeze": ("embeddings", "layers 0", "conditioners")},
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def assert_same(run_dir: Path, alone: Path) -> None:
    lines, expected = read_jsonl(run_dir / "history.jsonl"), read_jsonl(alone / "history.jsonl")
    assert [(a["kind"], a["step"]) for a in lines] == [(b["kind"], b["step"]) for b in expected]
    for a, b in zip(lines, expected, strict=True):
        assert a["loss_per_codebook"] == pytest.approx(b["loss_per_codebook"], abs=1e-5)
        assert a.get("lr", 0.0) == pytest.approx(b.get("lr", 0.0), rel=1e-4)
    weights, expected_weights = load_best_weights(run_dir)[0], load_best_weights(alone)[0]
    for name, weight in expected_weights.items():
        torch.testing.assert_close(weights[name], weight, atol=1e-3, rtol=0)


@pytest.mark.parametrize("options", OPTIONS, ids=["lion", "dadapt_adam", "muon", "freeze"])
def test_two_processes_equal_one_and_hand_over_to_one(
    options: dict[str, Any], corpus: tuple[Path, Path], tmp_path: Path
) -> None:
    config = tiny_config(**options, steps=10, checkpoint_every_steps=5, validate_every_steps=5)
    run(config, manifests=[corpus[0]], indexes=[corpus[1]], run_dir=tmp_path / "alone")
    version = STAGES["train"].version
    job = TrainJob(config, (corpus[0],), (corpus[1],), tmp_path / "shared", 1, stage_version=version)
    assert run_ranks(2, run_rank, (job,), tmp_path / "log") == [0, 0], (tmp_path / "log.0").read_text()
    assert_same(job.run_dir, tmp_path / "alone")
    # the second half again, on one process, from what two have saved
    (job.run_dir / "DONE").unlink()
    (job.run_dir / "checkpoints/step-00000010/manifest.json").write_text("{")
    run(config, manifests=[corpus[0]], indexes=[corpus[1]], run_dir=job.run_dir)
    assert_same(job.run_dir, tmp_path / "alone")
