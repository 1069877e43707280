"""How a run is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from musicgen_core.config.sampling import SamplingConfig
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

    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""

    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    """Decoupled decay of matrices; norms, biases and embeddings are not decayed."""

    warmup_steps: int = 20
    """Steps of linear warm-up before the cosine."""

    lr_min_ratio: float = 0.0
    """Learning rate at the end of the cosine, as a share of the peak."""

    max_grad_norm: float = 1.0
    """Total gradient norm above which gradients are scaled down."""

    ema_decay: float = 0.99
    """Decay of the weight average that is validated and exported."""

    ema_every_steps: int = 10
    """Steps between updates of the average."""

    cfg_dropout: float = 0.2
    """Probability, per sample, that the caption and every other condition are dropped (classifier-free guidance)."""

    words: WordsConfig = field(default_factory=WordsConfig)
    """How captions are varied."""

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
