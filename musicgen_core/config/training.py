"""How a run is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from musicgen_core.config.optimization import (
    AdamWConfig,
    CosineScheduleConfig,
    EarlyStoppingConfig,
    OptimizerConfig,
    ScheduleConfig,
)
from musicgen_core.config.sampling import SamplingConfig
from musicgen_core.config.start import InitFromConfig
from musicgen_core.config.words import WordsConfig


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run. Sizes are global: they do not change with the number of processes."""

    steps: int = 400
    """Optimizer steps."""

    batch_size: int = 16
    """Segments per optimizer step over all processes and micro-batches."""

    micro_batch_size: int | None = None
    """Segments per process and forward pass; null: no accumulation. Smaller: less memory, same result."""

    segment_sec: float = 5.0
    """Length of a training segment; MusicGen uses 30."""

    min_segment_ratio: float = 0.8
    """Share of a segment that must lie inside the track; the rest is padding, which carries no loss."""

    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Which tracks segments come from."""

    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    """What turns gradients into updates; docs/training.md."""

    learning_rate: float = 1e-3
    """Peak learning rate; a factor near 1 for D-Adaptation."""

    betas: tuple[float, float] = (0.9, 0.95)
    """Decays of the averages of gradients and of their squares; Lion: of the update and of its momentum."""

    eps: float = 1e-8
    weight_decay: float = 0.1
    """Decoupled decay of matrices; norms, biases and embeddings are not decayed."""

    warmup_steps: int = 20
    """Steps of linear warm-up before the schedule."""

    schedule: ScheduleConfig = field(default_factory=CosineScheduleConfig)
    """How the learning rate falls after the warm-up; docs/training.md has the formulas."""

    lr_min_ratio: float = 0.0
    """Lowest learning rate of a schedule, as a share of the peak."""

    max_grad_norm: float | None = 1.0
    """Total gradient norm above which gradients are scaled down; null or 0: never."""

    early_stopping: EarlyStoppingConfig | None = None
    """End before `steps` once validation no longer improves; null: never."""

    freeze: tuple[str, ...] = ()
    """What is not trained: groups (embeddings, heads, norms, conditioners, attention, cross_attention, feed_forward,
    `layers 0-11`) and patterns of parameter names (`transformer.layers.3.*`)."""

    ema_decay: float = 0.99
    """Decay of the weight average that is validated and exported."""

    ema_every_steps: int = 10
    """Steps between updates of the average."""

    cfg_dropout: float = 0.2
    """Probability, per sample, that the caption and every other condition are dropped (classifier-free guidance)."""

    words: WordsConfig = field(default_factory=WordsConfig)
    """How captions are varied."""

    init_from: InitFromConfig | None = None
    """Weights to start from; null: random ones."""

    extend_from: tuple[int, ...] = ()
    """Steps at which this run has ended before, ascending. It is first trained as the same run with so many `steps`, or
    found finished, and goes on from there with its optimizer, average and place in the data."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """Compute type; weights and optimizer state stay fp32."""

    sharding: Literal["full", "hybrid", "none"] = "full"
    """`full`: FSDP2 over all processes when there is more than one; `hybrid`: over those of a node, each node holding
    all weights, so that only gradients cross the network between nodes; `none`: every process holds all weights."""

    activation_checkpointing: bool = False
    """Recompute layer activations in the backward pass: about a third slower, far less memory."""

    compile: bool = False
    """torch.compile each layer."""

    device: Literal["auto", "cpu", "cuda"] = "auto"

    log_every_steps: int = 10
    validate_every_steps: int = 100
    num_valid_segments: int = 32
    """Fixed validation segments, the same at every validation."""

    checkpoint_every_steps: int = 100
    keep_last: int = 2
    """Newest checkpoints kept, besides the best by validation loss."""


@dataclass(frozen=True, kw_only=True)
class LaunchConfig:
    """Where processes start. Comes from Snakemake resources, never from config.yaml: it never makes a run stale."""

    launcher: Literal["none", "torchrun", "submitit"] = "none"
    nodes: int = 1
    processes_per_node: int = 1
    gpus_per_node: int = 0
    cpus_per_process: int = 1
    memory_mb: int = 4000
    runtime_min: int = 60
    partition: str | None = None
    account: str | None = None
