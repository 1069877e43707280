"""The words' conditioner as a T5 encoder with a tokenizer: what transformers' MusicGen takes.

A T5 conditioner is one already. A look-up table becomes a T5EncoderModel without layers. Such a model gives
w * x / rms(x) for the embedding x, so each row of the table gets one more coordinate that brings all rows to one norm;
w undoes the division, and the projection has a column of zeros for that coordinate. The tokenizer knows the words
that it is given; any other word is <unk>, a row of zeros. (The table itself hashes any word, but only those of the
training captions mean anything.)

Legend: C rows of the table, E width of the table, D width of the language model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicgen_core.conditioners.base import Conditioner
from musicgen_core.conditioners.lut import PUNCTUATION, LutConditioner, hash_word, split_words
from musicgen_core.conditioners.t5 import T5Conditioner

RMS_EPS = 1e-6


@dataclass(frozen=True)
class TextEncoder:
    """A T5 encoder, and the projection behind it."""

    config: dict[str, Any]
    """Keys of transformers' T5Config."""

    state: dict[str, Tensor]
    """Of transformers' T5EncoderModel."""

    projection: dict[str, Tensor]
    """`weight` [D, d_model] and `bias` [D]."""

    tokenizer: Any
    """transformers' PreTrainedTokenizerFast."""


def express_text_encoder(conditioner: Conditioner, words: Iterable[str], model_dim: int) -> TextEncoder:
    """The conditioner as a T5 encoder; `words` is the vocabulary of a look-up table's tokenizer.

    ValueError when transformers could not place the projection: it leaves it out where both widths agree.
    """
    if isinstance(conditioner, LutConditioner):
        return _from_table(conditioner, words, model_dim)
    assert isinstance(conditioner, T5Conditioner)
    return _from_t5(conditioner, model_dim)


def vocabulary(captions: Iterable[str | None]) -> list[str]:
    """Distinct words as the look-up table splits them, sorted."""
    return sorted({word for caption in captions for word in split_words(caption)})


def _from_t5(conditioner: T5Conditioner, model_dim: int) -> TextEncoder:
    from transformers import AutoTokenizer, T5EncoderModel

    folder: Path = conditioner.encoder.folder
    model = T5EncoderModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    if model.config.d_model == model_dim:
        raise ValueError(
            f"T5 is as wide as the language model ({model_dim}); transformers has no projection between equal widths"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokenizer.model_max_length = conditioner.max_length
    return TextEncoder(
        config=model.config.to_dict(),
        state=dict(model.state_dict()),
        projection=_projection(conditioner),
        tokenizer=tokenizer,
    )


def _from_table(conditioner: LutConditioner, words: Iterable[str], model_dim: int) -> TextEncoder:
    words = list(words)
    table_CE = conditioner.embed.weight.detach().double().cpu()
    num_bins, width = table_CE.shape
    num_extra = 2 if width + 1 == model_dim else 1  # where both widths agree transformers leaves the projection out
    ids = [hash_word(word, num_bins) for word in words]
    rows_WE = torch.cat([torch.zeros(2, width, dtype=torch.float64), table_CE[ids]])  # <pad>, <unk>, words
    square = table_CE.square().sum(1).amax().clamp_min(1.0)
    rest_W1 = (square - rows_WE.square().sum(1, keepdim=True)).clamp_min(0).sqrt()
    padding = torch.zeros(len(rows_WE), num_extra - 1, dtype=torch.float64)
    embedding = torch.cat([rows_WE, rest_W1, padding], dim=1).float()
    dim = width + num_extra
    projection = _projection(conditioner)
    projection["weight"] = torch.nn.functional.pad(projection["weight"], (0, num_extra))
    return TextEncoder(
        config={
            "model_type": "t5",
            "architectures": ["T5EncoderModel"],
            "vocab_size": len(embedding),
            "d_model": dim,
            "d_kv": 1,
            "d_ff": 1,
            "num_layers": 0,
            "num_heads": 1,
            "dropout_rate": 0.0,
            "layer_norm_epsilon": RMS_EPS,
            "is_encoder_decoder": False,
            "pad_token_id": 0,
            "eos_token_id": None,
        },
        state={
            "shared.weight": embedding,
            "encoder.embed_tokens.weight": embedding,
            "encoder.final_layer_norm.weight": torch.full((dim,), float((square / dim + RMS_EPS).sqrt())),
        },
        projection=projection,
        tokenizer=_make_tokenizer(words, conditioner.max_length),
    )


def _make_tokenizer(words: list[str], max_words: int) -> Any:
    """Splits as `split_words` does: lower case, white space, no punctuation at the ends of a word."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    marks = "".join("\\" + mark for mark in PUNCTUATION)
    numbers = {word: number for number, word in enumerate(["<pad>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex(rf"(?<!\S)[{marks}]+"), ""),
            normalizers.Replace(Regex(rf"[{marks}]+(?!\S)"), ""),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=max_words
    )


def _projection(conditioner: Conditioner) -> dict[str, Tensor]:
    layer = conditioner.output_proj
    return {"weight": layer.weight.detach().float().cpu(), "bias": layer.bias.detach().float().cpu()}
