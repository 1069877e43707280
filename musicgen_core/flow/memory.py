"""GPU memory of a training run, by model, segment, precision, sharding, checkpointing and processes: one formula, which
`musicgen plan` and `musicgen preflight` both print. Imports no torch.

State is counted to the byte (tests/distributed/test_memory_ranks.py compares with the tensors of 1, 2 and 4 processes):
of each parameter the largest part that FSDP2 leaves on a process when it cuts the first dimension; weights and weight
average of all parameters, gradients and moments of those that are trained. Activations are the tensors that autograd
saves for the backward pass of this model (tests compare them with what `torch.autograd.graph.saved_tensors_hooks`
sees). With B samples of S steps, width D, N layers, L positions of a condition and h bytes per computed number (4 in
fp32, 2 in bf16), a layer saves

    input of each of its three LayerNorms, in fp32           3 x 4 BSD
    their outputs, as the projections after them take them   3 x h BSD
    queries, keys, values; the result of attention           4 x h BSD
    across: queries and result; keys and values of L         2 x h BSD + 2 h BLD
    feed-forward, before and after GELU, 4 D wide            8 x h BSD

which is 80 BSD bytes in fp32 and 46 in bf16. Korthikanti et al. (arXiv 2205.05198, equation 2) count the same way, for
a layer with dropout masks and an attention matrix, neither of which is kept here. With activation checkpointing only
the input of each layer stays, and one layer at a time is computed again. What FSDP2 gathers follows the documentation
of `torch.distributed.fsdp.fully_shard`: two layers at a time (the next is fetched ahead), the root module throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from musicgen_core.config.condition import ChromaConditionConfig, ConditionConfig, StyleConditionConfig
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.model import LutConditionerConfig
from musicgen_core.config.pattern import resolve_pattern
from musicgen_core.config.root import RunConfig
from musicgen_core.flow import style_memory
from musicgen_core.flow.parameters import LAYER, Shapes, count_buffers, has_cross, is_trained, list_parameters
from musicgen_core.patterns.layout import build_pattern

T5_PARAMETERS = 110_000_000
"""Of T5-base's encoder (arXiv 1910.10683: 220 M with the decoder)."""

FP32, BF16, INT64 = 4, 2, 8
MOMENTS = {"adamw": 2, "lion": 1, "dadapt_adam": 3}
"""Numbers of optimizer state per weight that is trained; muon has 1 for the matrices of layers, 2 for the rest."""

CHUNK_LOGITS = 1 << 25
"""Logits that the loss computes at a time on a GPU (train/loss.py)."""

AVERAGING_BUCKET_BYTES = 64 * 2**20
"""Of gradients that unsharded processes sum at a time (train/parallel.py)."""

CONTEXT_BYTES, USABLE_SHARE = 2**30, 0.95
"""What the driver, cuBLAS and NCCL take of a GPU, and how much of the rest an allocator reaches before it fragments:
assumptions, on the safe side."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one GPU."""

    num_parameters: int
    """Of the whole model."""

    num_trained: int
    """... that training.freeze does not leave alone."""

    weights: int
    gradients: int
    moments: int
    """State of the optimizer."""

    average: int
    frozen: int
    """A text encoder, the feature extractor of a style."""

    copies: int
    """Weights as bf16, or gathered from other GPUs, and gradients on their way there."""

    activations: int
    logits: int
    """What the loss needs at its widest."""

    @property
    def state(self) -> int:
        return self.weights + self.gradients + self.moments + self.average + self.frozen

    @property
    def total(self) -> int:
        return self.state + self.copies + self.activations + self.logits


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How to fit a run on GPUs of one size."""

    num_processes: int
    micro_batch_size: int
    activation_checkpointing: bool
    memory: Memory


@dataclass(frozen=True)
class _Counts:
    """Parameters by where they lie."""

    layer: int
    """Of one transformer layer."""

    layer_matrices: int
    root: int
    """Of everything else."""

    root_matrices: int
    """Of the conditions' projections: what autocast keeps bf16 copies of, besides the layers'."""


def count_parameters(run: RunConfig, codec: CodecSpec) -> int:
    """Parameters of the language model and its conditioners, exactly."""
    return sum(math.prod(shape) for shape in list_parameters(run, codec).values())


def estimate_memory(
    run: RunConfig,
    codec: CodecSpec,
    num_processes: int = 1,
    condition_length: int | None = None,
    processes_per_node: int | None = None,
) -> Memory:
    """Peak bytes on each of `num_processes` GPUs, by training.sharding: `full` cuts the state over all processes,
    `hybrid` over those of a node (None: all are on one), `none` not at all.

    `condition_length`: positions that cross-attention sees; None: as many as the text conditioner lets through.
    Activations of frozen layers count as though they were trained: on the safe side.
    """
    t, shapes = run.training, list_parameters(run, codec)
    trained = {name: shape for name, shape in shapes.items() if is_trained(run, name)}
    counts = _count(shapes)
    shards = {"none": 1, "full": num_processes, "hybrid": processes_per_node or num_processes}[t.sharding]
    state = FP32 * (_hold(shapes, shards) + count_buffers(run))
    frozen = 0 if isinstance(run.conditioner, LutConditionerConfig) else FP32 * T5_PARAMETERS
    frozen += FP32 * sum(map(style_memory.count_frozen, _styles(run)))
    micro = t.micro_batch_size or max(1, t.batch_size // num_processes)
    length = _longest_condition(run) if condition_length is None else condition_length
    return Memory(
        num_parameters=sum(math.prod(shape) for shape in shapes.values()),
        num_trained=sum(math.prod(shape) for shape in trained.values()),
        weights=state,
        gradients=FP32 * _hold(trained, shards),
        moments=FP32 * sum(_moments(run, *one) * _hold(dict([one]), shards) for one in trained.items()),
        average=state,
        frozen=frozen,
        copies=_count_copies(run, counts, num_processes, shards),
        activations=_count_activations(run, codec, micro, length),
        logits=_count_logits(run, codec, micro),
    )


def count_saved(run: RunConfig, codec: CodecSpec, batch_size: int, condition_length: int) -> int:
    """Bytes that autograd saves in one forward pass and loss on one process, bf16 copies of weights included."""
    counts = _count(list_parameters(run, codec))
    copies = 0
    if run.training.precision == "bf16":
        copies = BF16 * counts.root_matrices
        if not run.training.activation_checkpointing:
            copies += BF16 * run.model.shape[2] * counts.layer_matrices
    one_layer = _layer_bytes(run, codec, batch_size, condition_length)
    recomputed = one_layer if run.training.activation_checkpointing else 0  # not saved, but computed again later
    activations = _count_activations(run, codec, batch_size, condition_length)
    return copies + activations - recomputed + FP32 * _count_heads(run, codec)


def fit(
    run: RunConfig, codec: CodecSpec, gpu_bytes: int, num_processes: int, condition_length: int | None = None
) -> Setting | None:
    """The fastest setting that fits: micro-batches as large as possible, checkpointing only where nothing else helps.

    Micro-batches are divisors of a process's share of the batch, so that the result stays the same. None: none fits.
    ValueError when the batch does not divide by the processes.
    """
    t = run.training
    if t.batch_size % num_processes:
        raise ValueError(
            f"training.batch_size {t.batch_size} does not divide by {num_processes} processes; change one of them"
        )
    share = t.batch_size // num_processes
    budget = USABLE_SHARE * (gpu_bytes - CONTEXT_BYTES)
    for checkpointing in (False, True):
        for micro in (size for size in range(share, 0, -1) if share % size == 0):
            training = replace(t, micro_batch_size=micro, activation_checkpointing=checkpointing)
            memory = estimate_memory(replace(run, training=training), codec, num_processes, condition_length)
            if memory.total <= budget:
                return Setting(
                    num_processes=num_processes,
                    micro_batch_size=micro,
                    activation_checkpointing=checkpointing,
                    memory=memory,
                )
    return None


def _count(shapes: Shapes) -> _Counts:
    first = {name: shape for name, shape in shapes.items() if name.startswith(f"{LAYER}0.")}
    root = {name: shape for name, shape in shapes.items() if not name.startswith(LAYER)}
    return _Counts(
        layer=_hold(first, 1),
        layer_matrices=_hold({name: shape for name, shape in first.items() if len(shape) == 2}, 1),
        root=_hold(root, 1),
        root_matrices=_hold({name: shape for name, shape in root.items() if _is_projection(name, shape)}, 1),
    )


def _is_projection(name: str, shape: tuple[int, ...]) -> bool:
    """Whether autocast copies it: a matrix of a condition that is no table."""
    return name.startswith("condition_provider.") and len(shape) == 2 and not name.endswith(".embed.weight")


def _hold(shapes: Shapes, shards: int) -> int:
    """Numbers of these parameters on the process that has most of them."""
    return sum(-(-first // shards) * math.prod(rest) for first, *rest in shapes.values())


def _moments(run: RunConfig, name: str, shape: tuple[int, ...]) -> int:
    """Numbers of optimizer state for each number of this parameter."""
    kind = run.training.optimizer.kind
    if kind == "muon":
        return 1 if name.startswith(LAYER) and len(shape) == 2 else 2
    return MOMENTS[kind]


def _count_heads(run: RunConfig, codec: CodecSpec) -> int:
    return codec.num_codebooks * codec.card * run.model.shape[0]


def _styles(run: RunConfig) -> list[StyleConditionConfig]:
    return [condition for condition in run.model.conditions.values() if isinstance(condition, StyleConditionConfig)]


def _longest_condition(run: RunConfig) -> int:
    words = run.conditioner
    return words.max_words if isinstance(words, LutConditionerConfig) else words.max_tokens


def _positions(condition: ConditionConfig) -> int:
    if isinstance(condition, StyleConditionConfig):
        return style_memory.count_positions(condition)
    return condition.num_frames if isinstance(condition, ChromaConditionConfig) else 1


def _lengths(run: RunConfig, codec: CodecSpec) -> tuple[int, int]:
    """(steps of the sequence with its prefix, frames of codes)."""
    frames = max(1, round(run.training.segment_sec * codec.frame_rate_hz))
    pattern = build_pattern(resolve_pattern(run.model.pattern, codec), codec.num_codebooks, frames)
    prefix = _longest_condition(run) if run.conditioner.fusion == "prepend" else 0
    prefix += sum(_positions(condition) for condition in run.model.conditions.values() if condition.fusion == "prepend")
    return pattern.num_valid_steps + prefix, frames


def _number_bytes(run: RunConfig) -> int:
    return FP32 if run.training.precision == "fp32" else BF16


def _layer_bytes(run: RunConfig, codec: CodecSpec, batch: int, length: int) -> int:
    """What one layer saves."""
    (dim, heads, _), h = run.model.shape, _number_bytes(run)
    steps, _ = _lengths(run, codec)
    cross = has_cross(run)
    per_step = (3 * FP32 + 17 * h if cross else 2 * FP32 + 14 * h) * dim
    per_step += FP32 * ((6 + 2 * heads) if cross else (4 + heads))  # mean and deviation of norms, log-sum of attention
    per_position = 2 * h * dim + (h * dim if h != FP32 else 0)  # keys and values; the condition, cast for this layer
    return batch * (steps * per_step + (length * per_position if cross else 0))


def _count_activations(run: RunConfig, codec: CodecSpec, batch: int, length: int) -> int:
    """Saved by the layers and by what lies around them, without the logits."""
    dim, _, layers = run.model.shape
    steps, _ = _lengths(run, codec)
    # the last norm's input, the gradient of its output that the loss keeps (train/loss.py), and the condition
    around = batch * FP32 * (steps * (2 * dim + 2) + length * dim)
    around += INT64 * batch * codec.num_codebooks * steps  # ids
    around += batch * sum(map(style_memory.count_saved_bytes, _styles(run)))
    if run.training.activation_checkpointing:
        return around + layers * FP32 * batch * steps * dim + _layer_bytes(run, codec, batch, length)
    return around + layers * _layer_bytes(run, codec, batch, length)


def _count_logits(run: RunConfig, codec: CodecSpec, batch: int) -> int:
    """What the loss holds at its widest (train/loss.py): one chunk of logits as they are computed, in fp32, as their
    exponentials and as their gradient; its rows of the heads' input and their gradient; and the gradient of the heads,
    which joins that of earlier micro-batches."""
    dim, h = run.model.shape[0], _number_bytes(run)
    _, frames = _lengths(run, codec)
    rows = min(batch * frames, max(1, CHUNK_LOGITS // codec.card))
    narrow = 0 if h == FP32 else 2 * h
    return rows * (codec.card * (2 * FP32 + narrow) + dim * (2 * h + FP32)) + FP32 * _count_heads(run, codec)


def _count_copies(run: RunConfig, counts: _Counts, num_processes: int, shards: int) -> int:
    layers, h = run.model.shape[2], _number_bytes(run)
    if shards > 1:
        gathered = 2 * h * counts.layer + FP32 * counts.root
        return 2 * gathered + (BF16 * counts.root_matrices if h == BF16 else 0)  # weights, and as much of gradients
    copies = BF16 * (layers * counts.layer_matrices + counts.root_matrices) if h == BF16 else 0
    bucket = min(AVERAGING_BUCKET_BYTES, FP32 * (layers * counts.layer + counts.root)) if num_processes > 1 else 0
    return copies + bucket
