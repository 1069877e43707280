"""Names and shapes of a run's parameters, without torch: what its memory is counted from."""

from __future__ import annotations

from musicgen_core.config.condition import ChromaConditionConfig, ClapConditionConfig, StyleConditionConfig
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.freezing import names_parameter
from musicgen_core.config.model import LutConditionerConfig
from musicgen_core.config.root import RunConfig
from musicgen_core.flow import style_memory

T5_WIDTH = 768
"""Of T5-base's encoder (arXiv 1910.10683)."""

NUM_CHROMA, CLAP_WIDTH = 12, 512
"""Widths of melody, and of CLAP's embeddings (projection_dim of its released models)."""

LAYER = "transformer.layers."

Shapes = dict[str, tuple[int, ...]]


def list_parameters(run: RunConfig, codec: CodecSpec) -> Shapes:
    """Name -> shape of every parameter of the language model and its conditioners, as `build_model` makes them."""
    dim, _, num_layers = run.model.shape
    shapes: Shapes = {}
    for name, width, rows in _conditioners(run):
        prefix = f"condition_provider.conditioners.{name}"
        shapes |= {f"{prefix}.output_proj.weight": (dim, width), f"{prefix}.output_proj.bias": (dim,)}
        if rows:
            shapes[f"{prefix}.embed.weight"] = (rows, width)
        condition = run.model.conditions.get(name)
        if isinstance(condition, StyleConditionConfig):
            shapes |= {f"{prefix}.{part}": shape for part, shape in style_memory.list_encoder(condition).items()}
    for k in range(codec.num_codebooks):
        shapes |= {f"emb.{k}.weight": (codec.card + 1, dim), f"linears.{k}.weight": (codec.card, dim)}
    layer = _layer(dim, has_cross(run))
    for number in range(num_layers):
        shapes |= {f"{LAYER}{number}.{name}": shape for name, shape in layer.items()}
    return shapes | _norm("out_norm", dim)


def is_trained(run: RunConfig, name: str) -> bool:
    """Whether training.freeze leaves this parameter to the optimizer."""
    return not any(names_parameter(entry, name) for entry in run.training.freeze)


def count_buffers(run: RunConfig) -> int:
    """Numbers of state that is no parameter: the codebooks of CLAP and style, and style's normalisation. Every process
    holds all of them."""
    count = 0
    for one in run.model.conditions.values():
        if isinstance(one, ClapConditionConfig | StyleConditionConfig):
            width = CLAP_WIDTH if isinstance(one, ClapConditionConfig) else one.dim
            count += one.num_levels * (1 + one.num_entries * (1 + 2 * width))
        if isinstance(one, StyleConditionConfig):
            count += 1 + 2 * one.dim
    return count


def has_cross(run: RunConfig) -> bool:
    """Whether layers attend to a condition."""
    return "cross" in {run.conditioner.fusion, *(condition.fusion for condition in run.model.conditions.values())}


def _layer(dim: int, cross: bool) -> Shapes:
    shapes = _norm("norm1", dim) | _norm("norm2", dim) | _attention("self_attn", dim)
    shapes |= {"linear1.weight": (4 * dim, dim), "linear2.weight": (dim, 4 * dim)}
    return shapes | _norm("norm_cross", dim) | _attention("cross_attention", dim) if cross else shapes


def _norm(name: str, dim: int) -> Shapes:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def _attention(name: str, dim: int) -> Shapes:
    return {f"{name}.in_proj_weight": (3 * dim, dim), f"{name}.out_proj.weight": (dim, dim)}


def _conditioners(run: RunConfig) -> list[tuple[str, int, int]]:
    """(name, width, rows of the learned table) of the words and of each condition."""
    found = [("description", T5_WIDTH, 0)]
    if isinstance(run.conditioner, LutConditionerConfig):
        found = [("description", run.conditioner.dim, run.conditioner.num_bins)]
    for name, condition in run.model.conditions.items():
        if isinstance(condition, ChromaConditionConfig):
            found.append((name, NUM_CHROMA, 0))
        elif isinstance(condition, ClapConditionConfig):
            found.append((name, CLAP_WIDTH, 0))
        elif isinstance(condition, StyleConditionConfig):
            found.append((name, condition.dim, 0))
        else:
            found.append((name, condition.dim, condition.num_bins))
    return found
