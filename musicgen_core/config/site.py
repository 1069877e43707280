"""Which variable of the SLURM profile sets what: for messages that tell a user what to change (config/README.md)."""

from __future__ import annotations

TRAINING = {
    "partition": "MUSICGEN_TRAIN_PARTITION",
    "account": "MUSICGEN_ACCOUNT",
    "nodes": "MUSICGEN_NODES",
    "cpus": "MUSICGEN_PROCESSES or MUSICGEN_CPUS",
    "gpus": "MUSICGEN_GPUS_PER_NODE",
    "memory": "MUSICGEN_MEMORY_MB",
    "runtime": "MUSICGEN_RUNTIME_MIN",
}

BUCKETS = {
    "partition": "MUSICGEN_PARTITION",
    "account": "MUSICGEN_ACCOUNT",
    "nodes": "MUSICGEN_NODES",
    "cpus": "MUSICGEN_BUCKET_CPUS",
    "gpus": "MUSICGEN_STAGE_GPUS",
    "memory": "MUSICGEN_BUCKET_MEMORY_MB",
    "runtime": "MUSICGEN_BUCKET_RUNTIME_MIN or MUSICGEN_BUCKETS_PER_JOB",
}
"""resample and tokenize."""

OTHERS = {
    **BUCKETS,
    "cpus": "MUSICGEN_CPUS",
    "memory": "MUSICGEN_STAGE_MEMORY_MB",
    "runtime": "MUSICGEN_STAGE_RUNTIME_MIN",
}
"""index, export, generate, evaluate."""

LEAST_TRAINING_MIN = 15
"""Time limit of a training job at least: submitit takes every signal for a time-out in jobs of 10 minutes and less."""

GPU_PARTITION = "MUSICGEN_GPU_PARTITION"
"""Partition of tokenize, generate and evaluate."""


def variables_of(stage: str) -> dict[str, str]:
    """The variables that set what a data job of a stage asks for."""
    return BUCKETS if stage in ("resample", "tokenize") else OTHERS
