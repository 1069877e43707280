"""Runs of a tiny model, and what they leave behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from token_corpus import tiny_config, write_corpus

from musicgen_core.config.root import TrainStageConfig
from musicgen_core.stages.train import run
from musicgen_core.util.atomic import read_jsonl

CLOCK = ("time_sec", "frames_per_sec", "data_wait_share", "flops_per_sec", "memory_mib", "checkpoint_stall_sec")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def train(corpus: tuple[Path, Path]) -> Callable[..., list[dict[str, Any]]]:
    """Train into a folder and return its history without what depends on the clock."""

    def start(run_dir: Path, config: TrainStageConfig | None = None, **where: Any) -> list[dict[str, Any]]:
        run(config or tiny_config(), manifests=[corpus[0]], indexes=[corpus[1]], run_dir=run_dir, **where)
        return read_history(run_dir)

    return start


@pytest.fixture(scope="session")
def undisturbed(train: Callable[..., list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of 20 steps that nothing disturbed."""
    run_dir = tmp_path_factory.mktemp("undisturbed")
    train(run_dir)
    return run_dir


def read_history(run_dir: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in read_jsonl(run_dir / "history.jsonl")]


@pytest.fixture(scope="session")
def history() -> Callable[[Path], list[dict[str, Any]]]:
    return read_history
