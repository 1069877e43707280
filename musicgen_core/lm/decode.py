"""One step of generation without the modules: the arithmetic of `LanguageModel.hidden_states` and `heads` on plain
tensors that are gathered once. A module call costs more than the arithmetic of a small model's step.

Legend: B batch, K codebooks, C cardinality, H heads, S steps, L condition length, d head width, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from musicgen_core.conditioners.fuse import Fused
from musicgen_core.lm.block import TransformerLayer, positions
from musicgen_core.lm.cache import Cache, LayerCache
from musicgen_core.lm.model import LanguageModel

PACK_MIN_ROWS = 3
"""With fewer rows a product is as fast as its weight can be read, and a packed weight is no smaller."""

PACK_MAX_BYTES = 4 << 30
"""Packed weights are a second copy; larger models do without."""


class Multiply(Protocol):
    """A weight, ready to be multiplied."""

    def __call__(self, x_BD: Tensor, added: Tensor | None = None) -> Tensor: ...


class _Plain:
    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.detach().t()

    def __call__(self, x_BD: Tensor, added: Tensor | None = None) -> Tensor:
        return torch.mm(x_BD, self.weight) if added is None else torch.addmm(added, x_BD, self.weight)


class _Packed:
    """For a fixed number of rows."""

    def __init__(self, weight: Tensor, num_rows: int) -> None:
        self.weight, self.num_rows = weight.detach().contiguous(), num_rows
        self.packed = torch.ops.mkl._mkl_reorder_linear_weight(self.weight, num_rows)

    def __call__(self, x_BD: Tensor, added: Tensor | None = None) -> Tensor:
        y_BD = torch.ops.mkl._mkl_linear(x_BD, self.packed, self.weight, None, self.num_rows)
        return y_BD if added is None else y_BD.add_(added)


class _Norm(NamedTuple):
    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x_BD: Tensor) -> Tensor:
        return torch.layer_norm(x_BD, self.weight.shape, self.weight, self.bias, self.eps)


class _Layer(NamedTuple):
    norm1: _Norm
    project: Multiply
    """To queries, keys and values."""

    out: Multiply
    norm_cross: _Norm | None
    query: Multiply | None
    cross_out: Multiply | None
    norm2: _Norm
    linear1: Multiply
    linear2: Multiply


class Decoder:
    """Steps of one batch. The first call may hold any number of steps and goes through the modules, which fills the
    cache; so does any later one with more than one step."""

    def __init__(self, model: LanguageModel, fused: Fused, cache: Cache, batch: int) -> None:
        self.model, self.fused, self.cache, self.batch = model, fused, cache, batch
        dim, self.num_heads, _ = model.config.shape
        heads = cast(Sequence[nn.Linear], model.linears)
        multiply = _multiplier(model, batch)
        self.table = torch.cat([table.weight.detach() for table in cast(Sequence[nn.Embedding], model.emb)])
        self.offset_K = torch.arange(model.num_codebooks, device=self.table.device) * (model.card + 1)
        self.heads = multiply(torch.cat([head.weight for head in heads]))
        self.positions_SD = positions(0, cache.max_steps, dim, self.table.device).to(self.table.dtype)
        self.mask_B11L = model.source_mask(fused.source)
        self.norm = _norm(model.out_norm)
        self.layers = [
            _gather(layer, multiply, fused.source is not None)
            for layer in cast(Sequence[TransformerLayer], model.transformer.layers)
        ]

    def __call__(self, columns_BKS: Tensor) -> Tensor:
        """New steps int64 [B, K, S] -> logits float32 [B, K, C] of the step after the last."""
        if self.cache.num_steps == 0 or columns_BKS.shape[2] > 1:
            x_BSD = self.model.hidden_states(columns_BKS, self.fused, self.cache)
            return self.model.heads(x_BSD[:, -1:])[:, :, 0].float()
        step = self.cache.num_steps
        x_BD = functional.embedding(columns_BKS[:, :, 0] + self.offset_K, self.table).sum(1)
        if self.fused.enters_later:
            x_BD = self.fused.enter(x_BD[:, None], self.cache.num_codes_steps, self.cache.num_valid_steps)[:, 0]
        x_BD = x_BD + self.positions_SD[step]
        for layer, cache in zip(self.layers, self.cache.layers, strict=True):
            x_BD = self._pass(layer, cache, x_BD, step)
        self.cache.num_steps += 1
        self.cache.num_codes_steps += 1
        return self.heads(self.norm(x_BD)).view(len(x_BD), self.model.num_codebooks, -1).float()

    def _pass(self, layer: _Layer, cache: LayerCache, x_BD: Tensor, step: int) -> Tensor:
        batch, dim = x_BD.shape
        assert cache.both_2BHSd is not None
        q_kv = layer.project(layer.norm1(x_BD)).view(batch, 3, self.num_heads, -1).transpose(0, 1)
        cache.both_2BHSd[:, :, :, step] = q_kv[1:]
        keys, values = cache.both_2BHSd[:, :, :, : step + 1].unbind(0)
        y_BH1d = functional.scaled_dot_product_attention(q_kv[0].unsqueeze(2), keys, values)
        x_BD = layer.out(y_BH1d.reshape(batch, dim), x_BD)
        if layer.norm_cross is not None and layer.query is not None and layer.cross_out is not None:
            assert cache.cross is not None
            q_BH1d = layer.query(layer.norm_cross(x_BD)).view(batch, self.num_heads, 1, -1)
            y_BH1d = functional.scaled_dot_product_attention(q_BH1d, *cache.cross, self.mask_B11L)
            x_BD = layer.cross_out(y_BH1d.reshape(batch, dim), x_BD)
        return layer.linear2(functional.gelu(layer.linear1(layer.norm2(x_BD))), x_BD)


def _gather(layer: TransformerLayer, multiply: Callable[[Tensor], Multiply], has_source: bool) -> _Layer:
    dim = layer.norm1.weight.shape[0]
    cross = layer.cross_attention if has_source else None
    return _Layer(
        norm1=_norm(layer.norm1),
        project=multiply(layer.self_attn.in_proj_weight),
        out=multiply(layer.self_attn.out_proj.weight),
        norm_cross=_norm(layer.norm_cross) if cross is not None else None,
        query=multiply(cross.in_proj_weight[:dim]) if cross is not None else None,
        cross_out=multiply(cross.out_proj.weight) if cross is not None else None,
        norm2=_norm(layer.norm2),
        linear1=multiply(layer.linear1.weight),
        linear2=multiply(layer.linear2.weight),
    )


def _norm(module: nn.LayerNorm) -> _Norm:
    return _Norm(module.weight, module.bias, module.eps)


def _multiplier(model: LanguageModel, batch: int) -> Callable[[Tensor], Multiply]:
    """How a weight is multiplied by [batch, D]. MKL's ordinary product of a few rows reads the weight many times over;
    with the weight packed for it (what torch.compile does too) it is up to 1.8 times as fast at 4 to 8 rows."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    num_bytes = sum(weight.numel() * weight.element_size() for weight in weights)
    on_cpu = all(weight.device.type == "cpu" and weight.dtype == torch.float32 for weight in weights)
    if on_cpu and batch >= PACK_MIN_ROWS and num_bytes <= PACK_MAX_BYTES and torch.backends.mkl.is_available():
        return lambda weight: _Packed(weight, batch)
    return _Plain
