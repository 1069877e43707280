"""Initial weights, as AudioCraft's `weight_init: gaussian`, `depthwise_init: current`, `zero_bias_init: true`.

Each parameter draws from its own generator, seeded by a hash of (seed, name): its values depend on nothing else, not on
the order of modules, the device or how the model is sharded.
"""

from __future__ import annotations

import hashlib
import math
import re

import torch
from torch import Tensor, nn

from musicgen_core.lm.model import LanguageModel

_SCALED = re.compile(r"transformer\.layers\.(\d+)\..*(out_proj|linear1|linear2)\.weight")


@torch.no_grad()
def initialize(model: LanguageModel, seed: int) -> None:
    """Fill every parameter in place.

    Embeddings, heads, out_proj, linear1, linear2: normal of sigma 1/sqrt(fan_in) cut at 3 sigma; those of layer i are
    divided by sqrt(2 (i + 1)). `in_proj_weight` keeps torch's Linear default, uniform in +-1/sqrt(fan_in): AudioCraft
    stores it as a bare parameter, which its own initialiser misses, and released models were trained so. So do the
    conditioner's projection and its bias. The look-up table is standard normal, LayerNorms are 1 and 0.
    """
    for name, parameter in model.named_parameters():
        values = torch.empty(parameter.shape, dtype=torch.float32)
        _fill(name, values, _generator(seed, name), model)
        parameter.copy_(values)


def _fill(name: str, values: Tensor, generator: torch.Generator, model: LanguageModel) -> None:
    if name.startswith("condition_provider."):
        module = model.get_submodule(name.rpartition(".")[0])
        if name.endswith("embed.weight"):
            values.normal_(generator=generator)
        elif isinstance(module, nn.LayerNorm):
            values.fill_(1.0 if name.endswith("weight") else 0.0)
        else:
            assert isinstance(module, nn.Linear)
            bound = 1 / math.sqrt(module.in_features)
            values.uniform_(-bound, bound, generator=generator)
    elif name.endswith("in_proj_weight"):
        bound = 1 / math.sqrt(values.shape[1])
        values.uniform_(-bound, bound, generator=generator)
    elif "norm" in name:
        values.fill_(1.0 if name.endswith("weight") else 0.0)
    else:
        sigma = 1 / math.sqrt(values.shape[1])
        if layer := _SCALED.fullmatch(name):
            sigma /= math.sqrt(2 * (int(layer[1]) + 1))
        nn.init.trunc_normal_(values, std=sigma, a=-3 * sigma, b=3 * sigma, generator=generator)


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
