"""What SLURM is asked for: the lines that sbatch gets for a geometry, on CPUs and on GPUs. SLURM is played."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_slurm import play
from token_corpus import tiny_config

from musicgen_core.config.training import LaunchConfig
from musicgen_core.train import slurm
from musicgen_core.train.job import TrainJob

__all__ = ["play"]

SINFO = "printf 'cpu*|2-00:00:00|8|64|256000|(null)\\ngpu|2-00:00:00|4|64|512000|gpu:a100:8\\n'"


def read_options(path: Path) -> dict[str, str]:
    """The options in the batch file that was submitted, and in its call of srun."""
    text = path.read_text()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(\S*)", text, re.MULTILINE))
    (srun,) = [line for line in text.splitlines() if line.startswith("srun ")]
    return options | {"srun": srun}


@pytest.fixture
def asked(play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """asked(where) -> the options of the job that was submitted."""
    play("sinfo", SINFO)
    play("squeue", "true")
    play("srun", "true")
    play("sbatch", f"cp \"$1\" {tmp_path}/submitted.sh; echo 'Submitted batch job 7'")
    monkeypatch.setattr(slurm, "Follower", lambda *_: SimpleNamespace(log="log", follow=lambda: None))
    monkeypatch.setattr(slurm, "is_done", lambda job: True)

    def submit(where: LaunchConfig) -> dict[str, str]:
        job = TrainJob(tiny_config(batch_size=32), (tmp_path,), (tmp_path,), tmp_path / "run", num_threads=1)
        slurm.launch_submitit(job, where)
        return read_options(tmp_path / "submitted.sh")

    return submit


GEOMETRIES = [
    (LaunchConfig(launcher="submitit", nodes=2, processes_per_node=4, cpus_per_process=8), None),
    (LaunchConfig(launcher="submitit", partition="gpu", gpus_per_node=1, cpus_per_process=8), "1"),
    (LaunchConfig(launcher="submitit", partition="gpu", processes_per_node=8, gpus_per_node=8), "8"),
    (LaunchConfig(launcher="submitit", partition="gpu", nodes=4, processes_per_node=8, gpus_per_node=8), "8"),
]


@pytest.mark.parametrize(
    ("where", "gpus"), GEOMETRIES, ids=["2 nodes x 4 processes", "1 GPU", "8 GPUs", "4 nodes x 8 GPUs"]
)
def test_a_geometry_is_asked_for_as_it_is_given(asked, where: LaunchConfig, gpus: str | None) -> None:
    """One task per process, and a node's GPUs for all its tasks: none is bound to a task, so NCCL sees its peers."""
    options = asked(where)
    assert options["nodes"] == str(where.nodes)
    assert options["ntasks-per-node"] == str(where.processes_per_node)
    assert options["cpus-per-task"] == str(where.cpus_per_process)
    assert options.get("gpus-per-node") == gpus
    assert options.get("partition") == where.partition
    assert options["mem"] == "4000M"
    assert not {"gpus-per-task", "ntasks-per-gpu", "ntasks", "gres", "mem-per-gpu"} & options.keys()
    assert "--kill-on-bad-exit=1" in options["srun"]


def test_time_signal_account_and_requeue(asked) -> None:
    options = asked(LaunchConfig(launcher="submitit", runtime_min=600, account="music"))
    assert (options["time"], options["account"]) == ("600", "music")
    assert options["signal"] == "USR2@90"
    assert "requeue" in options
    assert asked(LaunchConfig(launcher="submitit", runtime_min=5))["time"] == "15", "submitit's own limit"
