"""How much arithmetic a step is, how much of the device's peak that uses, and how much memory."""

from __future__ import annotations

import resource
from typing import Any

import torch
from torch import Tensor, nn

from musicgen_core.conditioners.base import Prepared
from musicgen_core.config.training import TrainingConfig
from musicgen_core.lm.flops import count_flops
from musicgen_core.lm.model import LanguageModel

PEAKS: tuple[tuple[str, float, float], ...] = (
    # name contains; dense bf16 with fp32 accumulation; fp32 outside the tensor cores. FLOP/s, of one device.
    (
        "B200",
        2.25e15,
        75e12,
    ),  # nvidia.com/en-us/data-center/dgx-b200 (8 GPUs: 72 PFLOPS FP8, half of it in bf16, sparse)
    ("H200", 989.5e12, 67e12),  # nvidia.com/en-us/data-center/h200, sparse 1,979
    ("H100 PCIe", 756e12, 51e12),  # nvidia.com/en-us/data-center/h100 and the H100 PCIe product brief, sparse 1,513
    ("H100 NVL", 835e12, 60e12),  # ..., sparse 1,671
    ("H100", 989.5e12, 67e12),  # ..., SXM, sparse 1,979
    ("A100", 312e12, 19.5e12),  # nvidia.com/en-us/data-center/a100
    ("L40S", 362e12, 91.6e12),  # nvidia.com/en-us/data-center/l40s
    ("L4", 121e12, 30.3e12),  # nvidia.com/en-us/data-center/l4, sparse 242
    ("A10", 125e12, 31.2e12),  # nvidia.com/en-us/data-center/products/a10-gpu
    ("RTX 4090", 165.2e12, 82.6e12),  # NVIDIA Ada GPU architecture, appendix A
    ("RTX 3090", 71e12, 35.6e12),  # NVIDIA Ampere GA102 GPU architecture, appendix A
)


class Meter:
    """Counts the arithmetic of one process's training steps, from the shapes that it sees.

    Model FLOPs as the PaLM paper counts them (arXiv 2204.02311, appendix B): forward and backward, without what
    activation checkpointing computes again; and, more strictly than there, of the self-attention only the half that a
    causal kernel computes (lm/flops.py).
    """

    def __init__(
        self, objective: nn.Module, model: LanguageModel, training: TrainingConfig, device: torch.device
    ) -> None:
        self._model, self._device = model, device
        self._flops = 0
        self.peak_flops_per_sec = (
            find_peak(torch.cuda.get_device_name(device), training.precision) if _is_gpu(device) else None
        )
        """Of this device, at the run's precision; None where it is not known, as on every CPU."""
        objective.register_forward_pre_hook(self._count)

    def _count(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        sequence_BKS: Tensor = inputs[0]
        prepared: dict[str, Prepared] = inputs[3]
        if not module.training:
            return
        length = {"cross": 0, "prepend": 0}
        for name, item in prepared.items():
            if (fusion := self._model.fusions[name]) in length:
                length[fusion] += item.mask_BL.shape[1]
        batch, _, num_steps = sequence_BKS.shape
        self._flops += count_flops(self._model, batch, num_steps, length["cross"], length["prepend"]).training

    def take_flops(self) -> int:
        """Since the last call."""
        flops, self._flops = self._flops, 0
        return flops

    def take_memory_mib(self) -> float:
        """On a GPU the most that tensors held since the last call; on a CPU the most that the process ever held."""
        if not _is_gpu(self._device):
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        peak = torch.cuda.max_memory_allocated(self._device) / 2**20
        torch.cuda.reset_peak_memory_stats(self._device)
        return peak


def find_peak(device_name: str, precision: str) -> float | None:
    """Peak FLOP/s of a GPU by its name; None when the table does not have it. fp32 is torch's default, without TF32."""
    for part, bf16, fp32 in PEAKS:
        words = f" {device_name.replace('-', ' ')} "
        if f" {part} " in words:
            return bf16 if precision == "bf16" else fp32
    return None


def _is_gpu(device: torch.device) -> bool:
    return device.type == "cuda"
