"""Weights of another model reach every process's shards."""

from pathlib import Path

import pytest
import torch
from ranks import run_ranks
from token_corpus import tiny_config, write_corpus

from musicgen_core.config.start import InitFromConfig
from musicgen_core.stages.train import run
from musicgen_core.train.checkpoint import load_best_weights
from musicgen_core.train.job import TrainJob
from musicgen_core.train.launch import run_rank


@pytest.mark.parametrize("sharding", ["full", "none"])
def test_two_processes_start_from_what_one_has_trained(sharding: str, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    run(tiny_config(steps=3), manifests=[corpus[0]], indexes=[corpus[1]], run_dir=tmp_path / "old")
    still = {"steps": 1, "learning_rate": 1e-12, "sharding": sharding}
    config = tiny_config(**still, init_from=InitFromConfig(path=str(tmp_path / "old")))
    job = TrainJob(config, (corpus[0],), (corpus[1],), tmp_path / "new", 1)
    assert run_ranks(2, run_rank, (job,), tmp_path / "log") == [0, 0], (tmp_path / "log.0").read_text()
    found, expected = load_best_weights(tmp_path / "new")[0], load_best_weights(tmp_path / "old")[0]
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-7, rtol=0)
    wrong = tiny_config({"dim": 64}, **still, init_from=InitFromConfig(path=str(tmp_path / "old")))
    job = TrainJob(wrong, (corpus[0],), (corpus[1],), tmp_path / "wrong", 1)
    assert run_ranks(2, run_rank, (job,), tmp_path / "refused") == [1, 1]
    assert "model.dim is 64, there 32" in (tmp_path / "refused.0").read_text()
    assert (tmp_path / "refused.1").read_text() == ""
