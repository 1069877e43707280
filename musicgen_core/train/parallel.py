"""One model over many processes: FSDP2 shards, or full copies whose gradients are summed."""

from __future__ import annotations

from functools import partial

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.utils.checkpoint import checkpoint

from musicgen_core.config.training import TrainingConfig
from musicgen_core.train.ranks import World

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
    if world.mesh is not None and config.sharding == "full":
        # Under bf16 the layers' weights travel, and are kept for the backward pass, as bf16; autocast decides what an
        # operation computes in, as with one process. Embeddings and heads stay fp32: they set the type of the residual
        # stream and of the positions in it. On the CPU, layer_norm takes no bf16 weights beside fp32 inputs.
        bf16 = config.precision == "bf16" and world.device.type == "cuda"
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
        for layer in layers:
            fully_shard(layer, mesh=world.mesh, mp_policy=policy)
        fully_shard(outer, mesh=world.mesh)
    outer.to(world.device)


def is_sharded(world: World, config: TrainingConfig) -> bool:
    return world.size > 1 and config.sharding == "full"


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
