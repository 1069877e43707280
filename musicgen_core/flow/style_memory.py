"""What a style condition adds to a run's parameters (flow/parameters.py) and memory (flow/memory.py), without torch."""

from __future__ import annotations

import math

from musicgen_core.config.condition import StyleConditionConfig
from musicgen_core.config.extractor import MelExtractorConfig

PRETRAINED_WIDTH, PRETRAINED_RATE_HZ, PRETRAINED_PARAMETERS = 768, 75, 95_000_000
"""Of MERT-v1-95M (HuBERT's and wav2vec 2.0's base models: 768, 50 Hz, 95 M)."""

FP32 = 4


def list_encoder(style: StyleConditionConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the parameters between the features and the output projection."""
    dim = style.dim
    shapes: dict[str, tuple[int, ...]] = {"input_proj.weight": (dim, _width(style)), "input_proj.bias": (dim,)}
    layer: dict[str, tuple[int, ...]] = {"in_proj.weight": (3 * dim, dim), "out_proj.weight": (dim, dim)}
    layer |= {"linear1.weight": (4 * dim, dim), "linear2.weight": (dim, 4 * dim)}
    layer |= {f"{norm}.{part}": (dim,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
    for number in range(style.num_layers):
        shapes |= {f"encoder.layers.{number}.{name}": shape for name, shape in layer.items()}
    return shapes


def count_frozen(style: StyleConditionConfig) -> int:
    """Parameters of the extractor."""
    return 0 if isinstance(style.extractor, MelExtractorConfig) else PRETRAINED_PARAMETERS


def count_frames(style: StyleConditionConfig) -> int:
    """Of the longest excerpt's features, at most."""
    mel = style.extractor
    rate_hz = mel.frame_rate_hz if isinstance(mel, MelExtractorConfig) else PRETRAINED_RATE_HZ
    return math.ceil(style.max_sec * rate_hz)


def count_positions(style: StyleConditionConfig) -> int:
    """Of the condition."""
    return -(-count_frames(style) // style.downsample)


def count_saved_bytes(style: StyleConditionConfig) -> int:
    """What autograd saves of a sample in fp32, at most: per layer and number of its width 20 numbers (two norms' inputs
    and outputs, queries, keys, values, the result of attention and the feed-forward before and after GELU), and around
    them the features, what enters the normalisation, and what leaves the quantiser."""
    return FP32 * count_frames(style) * ((20 * style.num_layers + 4) * style.dim + _width(style))


def _width(style: StyleConditionConfig) -> int:
    """Of the features."""
    return style.extractor.num_mels if isinstance(style.extractor, MelExtractorConfig) else PRETRAINED_WIDTH
