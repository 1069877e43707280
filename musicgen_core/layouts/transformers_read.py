"""A folder of transformers' MusicGen or MusicGen Melody, read into our terms without transformers' own classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicgen_core.codec.convert import rename_old
from musicgen_core.config.condition import ConditionConfig
from musicgen_core.config.model import ModelConfig, T5ConditionerConfig
from musicgen_core.config.pattern import DelayPatternConfig
from musicgen_core.config.store import read_license
from musicgen_core.layouts.chroma_keys import MELODY, read_extractor
from musicgen_core.layouts.imported import Imported
from musicgen_core.layouts.unpickle import load_untrusted
from musicgen_core.lm.interchange import MASK_KEY
from musicgen_core.lm.keymap import PROJECTION_RULES, RULES, from_transformers
from musicgen_core.util.keyrules import split_unknown, to_ours

MODEL_TYPES = ("musicgen", "musicgen_melody")

# what EncodecConfig, MusicgenDecoderConfig leave out of a file when it has their default
DECODER_DEFAULTS: dict[str, Any] = {
    "vocab_size": 2048,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "ffn_dim": 4096,
    "num_codebooks": 4,
    "audio_channels": 1,
    "activation_function": "gelu",
    "scale_embedding": False,
}

# tables that old files hold and every version computes anew
COMPUTED = ("model.decoder.embed_positions.weights",)


def read_transformers(folder: Path, mask_condition_padding: bool) -> Imported:
    """Read config.json and the weights (safetensors, in one file or shards; else pytorch_model.bin, safely).

    ValueError names the file, the key and its value when it is no MusicGen. A weight without a counterpart here keeps
    its name. `mask_condition_padding` holds also where config.json says so, as an export of ours does.
    """
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = values.get("model_type")
    if kind not in MODEL_TYPES:
        raise ValueError(f"{folder / 'config.json'}: model_type is {kind!r}; known are {', '.join(MODEL_TYPES)}")
    decoder = {**DECODER_DEFAULTS, **values["decoder"]}
    _check_decoder(decoder, folder / "config.json")
    parts = _split(read_weights(folder))
    state = _language_model(parts, decoder)
    melody = kind == "musicgen_melody"
    conditions: dict[str, ConditionConfig] = {}
    if melody:
        conditions[MELODY] = read_extractor(folder, values)
    stereo = decoder["audio_channels"] == 2
    num_codebooks = decoder["num_codebooks"]
    return Imported(
        source=str(folder),
        model=ModelConfig(
            dim=decoder["hidden_size"],
            num_heads=decoder["num_attention_heads"],
            num_layers=decoder["num_hidden_layers"],
            num_codebooks=num_codebooks,
            card=decoder["vocab_size"],
            pattern=DelayPatternConfig(delays=tuple(k // (2 if stereo else 1) for k in range(num_codebooks))),
            mask_condition_padding=mask_condition_padding or bool(values.get(MASK_KEY, False)),
            conditions=conditions,
        ),
        conditioner=T5ConditionerConfig(kind="t5", path="", fusion="prepend" if melody else "cross"),
        state=state,
        codec=(_codec_settings(values["audio_encoder"]), rename_old(parts["audio_encoder"])),
        num_channels=2 if stereo else int(values["audio_encoder"].get("audio_channels", 1)),
        segment_sec=30.0,
        license=read_license(folder),
        text_encoder=(_text_config(values["text_encoder"]), _text_state(parts["text_encoder"]), folder),
    )


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All weights of a folder. FileNotFoundError when it has none; ValueError for a damaged file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = sorted(folder.glob("model*.safetensors"))
    pickled = sorted(folder.glob("pytorch_model*.bin"))
    if not files and not pickled:
        raise FileNotFoundError(
            f"{folder}: neither model*.safetensors nor pytorch_model*.bin; the folder has no weights"
        )
    state: dict[str, Tensor] = {}
    for path in files or pickled:
        try:
            state |= load_file(path) if files else load_untrusted(path)
        except SafetensorError as error:
            raise ValueError(f"{path}: damaged ({error}); copy it again") from None
    index = folder / "model.safetensors.index.json"
    if files and index.is_file():
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if missing := sorted(set(listed) - set(state)):
            shards = sorted({listed[name] for name in missing})
            raise FileNotFoundError(f"{folder}: {', '.join(shards)} absent or damaged; {index.name} lists them")
    return state


def _check_decoder(decoder: dict[str, Any], path: Path) -> None:
    expected = {"ffn_dim": 4 * decoder["hidden_size"], "activation_function": "gelu", "scale_embedding": False}
    for key, value in expected.items():
        if decoder[key] != value:
            raise ValueError(f"{path}: decoder.{key} is {decoder[key]!r}; MusicGen's network has {value!r}")


def _split(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Weights by part of the composite model, without the part's name; `unknown` with all of theirs."""
    names = ("text_encoder", "audio_encoder", "decoder", "projections", "unknown")
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        if part in names[:3]:
            parts[part][rest] = tensor
        else:
            parts["projections" if part.endswith("enc_to_dec_proj") else "unknown"][name] = tensor
    return parts


def _language_model(parts: dict[str, dict[str, Tensor]], decoder: dict[str, Any]) -> dict[str, Tensor]:
    """In our names. What has none keeps its own: the strict load names it together with what is missing."""
    weights = {name: tensor for name, tensor in parts["decoder"].items() if name not in COMPUTED}
    known, unknown = split_unknown(weights, RULES)
    projections, others = split_unknown(parts["projections"], PROJECTION_RULES)
    state = from_transformers(known) | to_ours(projections, PROJECTION_RULES)
    state |= {f"decoder.{name}": tensor for name, tensor in unknown.items()} | others | parts["unknown"]
    words = "condition_provider.conditioners.description.output_proj"
    if f"{words}.weight" not in state:  # left out where both widths agree
        dim = decoder["hidden_size"]
        state[f"{words}.weight"], state[f"{words}.bias"] = torch.eye(dim), torch.zeros(dim)
    return state


def _text_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder alone, its table once."""
    kept = {n: t for n, t in state.items() if not n.startswith(("decoder.", "lm_head."))}
    table = kept.pop("encoder.embed_tokens.weight", None)
    if table is not None:
        kept.setdefault("shared.weight", table)
    return kept


def _text_config(values: dict[str, Any]) -> dict[str, Any]:
    return {"d_model": 512, **values}  # T5Config's default, which a file may leave out


def _codec_settings(values: dict[str, Any]) -> dict[str, Any]:
    skipped = ("architectures", "model_type", "dtype", "torch_dtype", "transformers_version", "_name_or_path")
    return {key: value for key, value in values.items() if key not in skipped}
