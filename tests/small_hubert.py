"""A tiny random HuBERT that hears 8 kHz in frames of 80 samples, made without a network."""

from __future__ import annotations

import json
from pathlib import Path

import torch

WIDTH, NUM_LAYERS, RATE_HZ = 16, 2, 8000


def write_hubert(folder: Path, normalize: bool = False) -> Path:
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    config = HubertConfig(
        hidden_size=WIDTH,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8),
        conv_stride=(10, 8),
        conv_kernel=(20, 8),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    torch.manual_seed(0)
    model = HubertModel(config)
    with torch.no_grad():  # the default initialisation is so small that every input gives nearly the same
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=RATE_HZ, do_normalize=normalize).save_pretrained(folder)
    return folder


def edit_config(folder: Path, **changes: object) -> None:
    """Change keys of config.json; None takes one out."""
    path = folder / "config.json"
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
