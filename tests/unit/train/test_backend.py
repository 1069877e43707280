"""Which backend carries the collectives: chosen by the device alone, so that one geometry serves CPUs and GPUs."""

from typing import Any

import pytest
import torch
import torch.distributed as dist

from musicgen_core.train import ranks


@pytest.mark.parametrize(
    ("device", "gpus", "backend", "chosen"),
    [
        ("auto", 2, "cpu:gloo,cuda:nccl", "cuda:1"),
        ("auto", 1, "cpu:gloo,cuda:nccl", "cuda:0"),
        ("cuda", 4, "cpu:gloo,cuda:nccl", "cuda:3"),
        ("auto", 0, "gloo", "cpu"),
        ("cpu", 4, "gloo", "cpu"),
    ],
)
def test_the_backend_follows_the_device(
    device: str, gpus: int, backend: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Process 7 of 8, the last of the four on its node; where SLURM shows each process one GPU, that one is its own."""
    called: dict[str, Any] = {}
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: called.update(device=device))
    monkeypatch.setattr(dist, "rendezvous", lambda url, timeout: iter([(dist.HashStore(), 7, 8)]))
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **_: called.update(backend=backend))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: called.update(destroyed=True))
    monkeypatch.setattr(ranks, "init_device_mesh", lambda kind, shape: (kind, shape))
    with ranks.open_world(device, 1) as world:
        assert called["backend"] == backend
        assert world.device == torch.device(chosen)
        assert world.mesh == (chosen.split(":")[0], (8,))
    assert called["destroyed"]
