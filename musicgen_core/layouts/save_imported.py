"""A model of another layout as an export of ours: its parts are written, and each is proven whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from musicgen_core.codec.convert import State, write_codec
from musicgen_core.codec.files import copy_codec
from musicgen_core.codec.load import load_codec
from musicgen_core.conditioners.t5 import T5Conditioner
from musicgen_core.config.codec_channels import with_channels
from musicgen_core.config.codec_spec import read_codec_folder
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.model import T5ConditionerConfig
from musicgen_core.layouts.imported import Imported
from musicgen_core.lm.model import LanguageModel, build_model
from musicgen_core.lm.weights import CODEC_NAME, TEXT_ENCODER_NAME, load_state, write_export
from musicgen_core.util.atomic import write_json, write_text

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model")


def save_imported(folder: Path, imported: Imported) -> LanguageModel:
    """Write an export of ours into an existing folder: weights, config.json, README.md, codec/, text_encoder/.

    ValueError names what does not fit: codec and model, or each missing, unexpected and mismatched weight of the
    language model, the codec or the text encoder.
    """
    codec = _save_codec(folder / CODEC_NAME, imported)
    conditioner = built = imported.conditioner
    if imported.text_encoder is not None:
        assert isinstance(conditioner, T5ConditionerConfig)
        _save_text_encoder(folder / TEXT_ENCODER_NAME, *imported.text_encoder)
        built = replace(conditioner, path=str(folder / TEXT_ENCODER_NAME))
        conditioner = replace(conditioner, path=TEXT_ENCODER_NAME)
    model = build_model(imported.model, built, codec)
    load_state(model, imported.state, imported.source)
    if imported.text_encoder is not None:
        assert isinstance(model.conditioner, T5Conditioner)
        model.conditioner.encoder.load()
    info = {
        "imported_from": Path(imported.source).name,
        "training": {"segment_sec": imported.segment_sec},
        "weights_license": imported.license,
    }
    write_export(folder, model, conditioner, codec, info)
    write_text(folder / "README.md", _card(model, imported, codec))
    return model.eval()


def _save_codec(folder: Path, imported: Imported) -> CodecSpec:
    folder.mkdir()
    if isinstance(imported.codec, Path):
        copy_codec(imported.codec, folder)
    else:
        write_codec(folder, *imported.codec)
    spec = with_channels(read_codec_folder(folder), imported.num_channels, folder)
    try:
        load_codec(folder)
    except ValueError as error:
        raise ValueError(f"{imported.source}: its codec is not whole: {error}") from None
    return spec


def _save_text_encoder(folder: Path, config: dict[str, Any], state: State, tokenizer: Path) -> None:
    import shutil

    from safetensors.torch import save_file

    folder.mkdir()
    write_json(folder / "config.json", {**config, "model_type": "t5", "architectures": ["T5EncoderModel"]})
    save_file({n: t.float().contiguous() for n, t in state.items()}, folder / "model.safetensors", {"format": "pt"})
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)


def _card(model: LanguageModel, imported: Imported, codec: CodecSpec) -> str:
    dim, num_heads, num_layers = model.config.shape
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"""\
---
license: {imported.license or "unknown"}
tags: [music, musicgen, text-to-audio]
---
# A MusicGen model, imported

From `{Path(imported.source).name}`: {num_layers} layers, width {dim}, {num_heads} heads ({num_parameters:,} parameters)
over {model.num_codebooks} codebooks of {model.card}, conditioned on {", ".join(model.fusions)}. Codec at
{codec.sample_rate_hz} Hz, {codec.num_channels} channel(s), digest `{codec.digest}`, in `codec/`.

Licence of the weights: {imported.license or "not stated by the source; Meta's released MusicGen is CC-BY-NC-4.0"}.
What is trained or generated with them inherits it.

```python
from musicgen_core.lm.weights import load_export

model, info = load_export("FOLDER")  # this folder
```
"""
