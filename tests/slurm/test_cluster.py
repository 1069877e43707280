"""The cluster itself, so that a failure of the workflow on it can be told from a failure of it."""

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm

ALL_REDUCE = """
import os, sys
import submitit

def add_ranks():
    import torch
    import torch.distributed as dist
    submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False)
    dist.init_process_group("gloo")
    total = torch.tensor([dist.get_rank() + 1])
    dist.all_reduce(total)
    dist.destroy_process_group()
    return os.environ["SLURMD_NODENAME"], total.item()

executor = submitit.SlurmExecutor(sys.argv[1])
executor.update_parameters(nodes=2, ntasks_per_node=1, mem="2G", time=5)
print(executor.submit(add_ranks).results())
"""


def test_a_job_spans_two_nodes(cluster) -> None:
    shown = cluster.run("srun", "-N2", "printenv", "SLURMD_NODENAME", timeout=30)
    assert sorted(shown.stdout.split()) == ["n1", "n2"], shown.stderr


def test_submitit_joins_two_nodes_over_gloo(cluster, tmp_path: Path) -> None:
    shown = cluster.run(sys.executable, "-c", ALL_REDUCE, tmp_path / "logs", timeout=90)
    assert shown.stdout.splitlines()[-1:] == ["[('n1', 3), ('n2', 3)]"], shown.stderr
