"""A tiny random CLAP with tokenizer and feature extractor, made without a network."""

from __future__ import annotations

from pathlib import Path

import torch

WORDS = ["slow", "rock", "ballad", "fast", "techno", "a", "tone"]


def write_clap(folder: Path, width: int = 16) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")
    fast.save_pretrained(folder)
    ClapFeatureExtractor(truncation="rand_trunc", max_length_s=1, sampling_rate=16000, hop_length=160).save_pretrained(
        folder
    )
    torch.manual_seed(0)
    text = {"vocab_size": len(vocabulary), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"intermediate_size": 16, "max_position_embeddings": 90, "projection_dim": width}
    audio = {"hidden_size": 64, "patch_embeds_hidden_size": 8, "depths": [1, 1, 1, 1], "projection_dim": width}
    audio |= {"num_attention_heads": [1, 1, 1, 1], "num_hidden_layers": 4, "spec_size": 256, "num_mel_bins": 64}
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=width))
    with torch.no_grad():  # the default initialisation is so small that every input gives the same vector
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.2)
    model.save_pretrained(folder)
    return folder
