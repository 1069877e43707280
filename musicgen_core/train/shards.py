"""The part of a tensor that this process holds, and sums over all parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def local(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Each process's own rows of sharded tensors, without a copy; whole tensors as they are."""
    return [t.to_local() if isinstance(t, DTensor) else t for t in tensors]


def gather(part: Tensor, like: Tensor) -> Tensor:
    """The whole of a tensor that is sharded as `like`, from the parts of all processes. A collective call."""
    if not isinstance(like, DTensor):
        return part
    placed = DTensor.from_local(
        part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )
    return placed.full_tensor()


def own_part(whole: Tensor, like: Tensor) -> Tensor:
    """This process's part of a tensor that every process holds whole."""
    if not isinstance(like, DTensor):
        return whole
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None).to_local()


def sum_parts(sums: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Sums over the parts of sharded `parameters`, added up over the processes that share them; in place."""
    first = parameters[0]
    if isinstance(first, DTensor):
        for axis, placement in enumerate(first.placements):
            if placement.is_shard():
                dist.all_reduce(sums, group=first.device_mesh.get_group(axis))
    return sums


def zeros_like(parameter: Tensor) -> Tensor:
    """State of an optimizer: fp32 zeros, sharded as its parameter is, so that a checkpoint can cut it anew."""
    return torch.zeros_like(parameter, requires_grad=False)
