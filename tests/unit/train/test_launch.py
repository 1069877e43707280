from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from musicgen_core.config.training import LaunchConfig
from musicgen_core.train.launch import check_environment, check_geometry

COMPLETE = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"}


def test_no_rank_variables_mean_one_process() -> None:
    assert check_environment({}, "none") is False


def test_a_torchrun_of_the_user_is_recognised() -> None:
    torchrun = {**COMPLETE, "TORCHELASTIC_RUN_ID": "x"}
    assert check_environment(torchrun, "none") is True
    with pytest.raises(ValueError, match=r"torchrun has started this process already .*; use launcher none"):
        check_environment(torchrun, "torchrun")


@pytest.mark.parametrize(
    "left", [{"RANK": "0"}, {"WORLD_SIZE": "4"}, COMPLETE, {"RANK": "0", "TORCHELASTIC_RUN_ID": "x"}]
)
def test_stray_rank_variables_are_reported_with_the_remedy(left: dict[str, str]) -> None:
    names = [name for name in COMPLETE if name in left]
    with pytest.raises(ValueError, match=rf"stray variables .*remove them first: unset {' '.join(names)}$"):
        check_environment(left, "none")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (LaunchConfig(processes_per_node=2), "launcher none starts 1 process, but 1 nodes x 2 processes"),
        (LaunchConfig(launcher="torchrun", nodes=2), "stays on 1 machine, but 2 nodes"),
        (LaunchConfig(launcher="submitit", processes_per_node=4, gpus_per_node=2), "4 processes per node but 2 GPUs"),
        (LaunchConfig(cpus_per_process=0), "cpus per process 0 must each be at least 1"),
    ],
)
def test_geometry_that_cannot_work_is_refused(where: LaunchConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_geometry(where)


def test_submitit_without_slurm_is_one_line(
    tmp_path: Path, train: Callable[..., list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="launcher submitit needs SLURM, but there is no sbatch and squeue in PATH"):
        train(tmp_path, launcher="submitit")
