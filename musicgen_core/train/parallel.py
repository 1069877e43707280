"""One model over many processes: FSDP2 shards over all or within a node, or full copies whose gradients are summed."""

from __future__ import annotations

import os
from functools import partial

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.utils.checkpoint import checkpoint

from musicgen_core.config.training import TrainingConfig
from musicgen_core.train.ranks import Refused, World

BUCKET_ELEMENTS = 16 * 1024 * 1024


def distribute(outer: nn.Module, layers: nn.ModuleList, world: World, config: TrainingConfig) -> None:
    """Prepare a model in place: checkpointed and compiled layers, then shards on the world's device.

    `outer` is the module whose forward covers every parameter in use; `layers` are its transformer layers. Gradients of
    shards are averaged over processes by FSDP; those of copies by `average_gradients`.
    """
    for layer in layers:
        # The compiled code goes inside the checkpoint: torch.compile does not look into an eager checkpoint, silently.
        if config.compile:
            layer.forward = torch.compile(layer.forward)
        if config.activation_checkpointing:
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    if is_sharded(world, config):
        # Under bf16 the layers' weights travel, and are kept for the backward pass, as bf16; autocast decides what an
        # operation computes in, as with one process. Embeddings and heads stay fp32: they set the type of the residual
        # stream and of the positions in it. On the CPU, layer_norm takes no bf16 weights beside fp32 inputs.
        bf16 = config.precision == "bf16" and world.device.type == "cuda"
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
        mesh = _mesh(world, config)
        for layer in layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(outer, mesh=mesh)
    outer.to(world.device)


def is_sharded(world: World, config: TrainingConfig) -> bool:
    return world.size > 1 and config.sharding != "none"


def _mesh(world: World, config: TrainingConfig) -> DeviceMesh:
    """full: one line of processes. hybrid: a row per node; weights are cut over a row, and each row holds them all
    (FSDP2's two-dimensional mesh: replicate, shard)."""
    assert world.mesh is not None
    if config.sharding == "full":
        return world.mesh
    per_node = world.on_first(partial(_processes_per_node, world.gather(int(os.environ["LOCAL_RANK"]))))
    return init_device_mesh(
        world.mesh.device_type, (world.size // per_node, per_node), mesh_dim_names=("replicate", "shard")
    )


def _processes_per_node(local_ranks: list[int]) -> int:
    """From every process's number on its node, in the order of ranks. Raises Refused when nodes differ."""
    per_node = max(local_ranks) + 1
    if local_ranks != list(range(per_node)) * (len(local_ranks) // per_node):
        raise Refused(
            f"training.sharding is hybrid, but the {len(local_ranks)} processes are no rows of {per_node} per node "
            f"(their LOCAL_RANK: {' '.join(map(str, local_ranks))}); start as many on each node, or set "
            "training.sharding to full"
        )
    return per_node


def average_gradients(model: nn.Module) -> None:
    """Average the gradients of full copies over processes, in buckets; a missing gradient counts as zero."""
    gradients = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    bucket: list[torch.Tensor] = []
    size = 0
    for gradient in gradients:
        bucket.append(gradient)
        size += gradient.numel()
        if size >= BUCKET_ELEMENTS:
            _average(bucket)
            bucket, size = [], 0
    if bucket:
        _average(bucket)


def _average(gradients: list[torch.Tensor]) -> None:
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
