"""Which setting fits which GPU, by the formula of flow/memory.py; and that formula against what is measured here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from musicgen_core.flow.memory import Memory, Setting, count_saved, estimate_memory, fit
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import build_model
from musicgen_core.preflight.finding import Finding
from musicgen_core.preflight.material import Material
from musicgen_core.preflight.trial import Trial
from musicgen_core.train.parallel import distribute
from musicgen_core.train.step import Objective, autocast

GPUS_GIB = {
    "RTX 3060 12 GB": 12,
    "T4 16 GB": 15,
    "RTX 4090, A10G 24 GB": 23,
    "A100 40 GB": 40,
    "L40S, A6000 48 GB": 45,
    "A100, H100 80 GB": 79,
    "H200 141 GB": 140,
}
"""Name -> GiB that nvidia-smi shows of such a card, about."""

PROCESSES = (1, 2, 4, 8)
TOLERANCE = 0.05
MAX_MEASURED_BYTES = 2 * 2**30
"""Of a forward pass that is measured on the CPU."""


@dataclass(frozen=True)
class PlanRow:
    """What fits on one kind of GPU."""

    gpu: str
    gib: float
    settings: tuple[Setting | None, ...]
    """By PROCESSES; None: nothing fits, or the batch does not divide."""


def plan_rows(material: Material, condition_length: int) -> list[PlanRow]:
    rows = []
    for name, gib in {**GPUS_GIB, **_here()}.items():
        settings = [_fit(material, round(gib * 2**30), count, condition_length) for count in PROCESSES]
        rows.append(PlanRow(name, gib, tuple(settings)))
    return rows


def check_memory(material: Material, trial: Trial, rows: Sequence[PlanRow], condition_length: int) -> Finding:
    """The need as configured, what fits, and the measurement."""
    run, spec = material.run, material.spec
    memory = estimate_memory(run, spec, 1, condition_length)
    measured, expected = _measure(material, trial)
    ratio = expected / measured
    text = (
        f"one GPU needs {_size(memory.total)} as configured ({describe(memory)}); "
        f"{_first_that_fits(rows)}; what autograd saves here is {measured / 1e6:.1f} MB, the formula says "
        f"{expected / 1e6:.1f} MB"
    )
    figures = {
        "bytes": {name: getattr(memory, name) for name in (*PARTS, "total")},
        "saved_bytes": {"measured": measured, "formula": expected},
        "fits": {row.gpu: [_brief(setting) for setting in row.settings] for row in rows},
    }
    remedy, level_ok = "", abs(ratio - 1) <= TOLERANCE
    here = [row for row in rows if row.gpu in _here()]
    too_small = any(row.settings[0] is None for row in here)
    if too_small:
        text = f"this machine's GPU is too small: {text}"
        remedy = "choose a smaller model or shorter segments, or shard over more GPUs"
    elif not level_ok:
        remedy = f"the formula is off by {ratio - 1:+.0%} for this model: leave room"
    return Finding(
        check="memory",
        level="problem" if too_small else "ok" if level_ok else "warning",
        text=text,
        remedy=remedy,
        figures=figures,
    )


PARTS = ("weights", "gradients", "moments", "average", "frozen", "copies", "activations", "logits")


def describe(memory: Memory) -> str:
    return ", ".join(f"{name} {_size(size)}" for name in PARTS if (size := getattr(memory, name)))


def to_table(rows: Sequence[PlanRow]) -> list[str]:
    """Lines for a terminal."""
    lines = [f"  {'GPU':<22}" + "".join(f"{count} GPU{'s' * (count > 1):<13}" for count in PROCESSES)]
    for row in rows:
        lines.append(f"  {row.gpu:<22}" + "".join(f"{_brief(setting):<18}" for setting in row.settings))
    return lines


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.0f} MiB"


def _brief(setting: Setting | None) -> str:
    if setting is None:
        return "-"
    checkpointing = " ckpt" if setting.activation_checkpointing else ""
    return f"{setting.micro_batch_size}{checkpointing} ({setting.memory.total / 2**30:.1f} GiB)"


def _first_that_fits(rows: Sequence[PlanRow]) -> str:
    for row in rows:
        setting = row.settings[0]
        if setting is not None:
            keys = f"micro_batch_size {setting.micro_batch_size}"
            keys += ", activation_checkpointing" if setting.activation_checkpointing else ""
            return f"the smallest GPU that fits alone: {row.gpu} with {keys}"
    return "no single GPU fits; shard over several"


def _fit(material: Material, gpu_bytes: int, count: int, condition_length: int) -> Setting | None:
    if material.run.training.batch_size % count:
        return None
    return fit(material.run, material.spec, gpu_bytes, count, condition_length)


def _here() -> dict[str, float]:
    if not torch.cuda.is_available():
        return {}
    device = torch.cuda.get_device_properties(0)
    return {f"{device.name} (here)": device.total_memory / 2**30}


def _measure(material: Material, trial: Trial) -> tuple[int, int]:
    """(bytes that autograd saves of one sample's forward pass and loss, the same by the formula), of the trial's model
    under the run's precision and checkpointing."""
    run = replace(
        material.run,
        model=trial.model,
        training=replace(material.run.training, segment_sec=trial.num_frames / material.spec.frame_rate_hz),
    )
    model = build_model(trial.model, run.conditioner, material.spec, trial.world.device)
    initialize(model, run.seed)
    objective = Objective(model)
    distribute(objective, model.transformer.layers, trial.world, run.training)
    batch = next(trial.batch.split(1))
    prepared = {name: one.to(trial.world.device) for name, one in model.prepare(["a " * 8]).items()}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    assert batch.sequence_BKS is not None
    inputs = [t.to(trial.world.device) for t in (batch.sequence_BKS, batch.codes_BKT, batch.mask_BT)]
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        autocast(trial.world, run.training),
    ):
        objective(*inputs, prepared, torch.ones(material.spec.num_codebooks, device=trial.world.device))
    length = next(iter(prepared.values())).mask_BL.shape[1]
    return sum(storage.nbytes() for storage in kept.values()), count_saved(run, material.spec, 1, length)
