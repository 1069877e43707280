from pathlib import Path

import pytest
import torch.distributed as dist

from musicgen_core.train.failures import is_lost_peer, note_failure, read_failures

GLOO = "[../third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [10.0.0.2]:23456"


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError(GLOO), True),
        (dist.DistBackendError("NCCL error in: ProcessGroupNCCL.cpp:3690, remote process exited"), True),
        (dist.DistStoreError("wait timeout after 1800000ms"), True),
        (ConnectionResetError("Connection reset by peer"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), False),
        (ValueError("Connection closed by peer"), False),
        (ZeroDivisionError("division by zero"), False),
    ],
)
def test_who_only_lost_its_connection(error: Exception, lost: bool) -> None:
    assert is_lost_peer(error) is lost


def test_the_process_that_failed_by_itself_comes_first(tmp_path: Path) -> None:
    note_failure(tmp_path, "7", 0, 3)(KeyError("of a former start"), "old")
    note_failure(tmp_path, "7", 1, 0)(RuntimeError(GLOO), "lost")
    note_failure(tmp_path, "7", 1, 2)(ZeroDivisionError("x"), "own")
    note_failure(tmp_path, "8", 0, 0)(ZeroDivisionError("x"), "another job")
    assert [(f.rank, f.lost_peer, f.text) for f in read_failures(tmp_path, "7")] == [
        (2, False, "own"),
        (0, True, "lost"),
    ]
    assert read_failures(tmp_path, "9") == []
