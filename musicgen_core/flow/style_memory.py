"""What a style condition adds to the forecast of a run's memory (flow/memory.py). Imports no torch."""

from __future__ import annotations

import math

from musicgen_core.config.condition import StyleConditionConfig
from musicgen_core.config.extractor import MelExtractorConfig

PRETRAINED_WIDTH, PRETRAINED_RATE_HZ, PRETRAINED_PARAMETERS = 768, 75, 95_000_000
"""Of MERT-v1-95M (HuBERT's and wav2vec 2.0's base models: 768, 50 Hz, 95 M)."""

FP32 = 4


def count_encoder(style: StyleConditionConfig) -> int:
    """Trained parameters between the features and the output projection."""
    width = style.extractor.num_mels if isinstance(style.extractor, MelExtractorConfig) else PRETRAINED_WIDTH
    return (width + 1) * style.dim + style.num_layers * (12 * style.dim**2 + 4 * style.dim)


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
    width = style.extractor.num_mels if isinstance(style.extractor, MelExtractorConfig) else PRETRAINED_WIDTH
    return FP32 * count_frames(style) * ((20 * style.num_layers + 4) * style.dim + width)
