"""An EnCodec in the terms of transformers and of AudioCraft: settings and weights, from a codec folder and to one.

AudioCraft's settings are the sections `encodec`, `seanet` and `rvq` of its config (config/model/encodec/default.yaml in
facebookresearch/audiocraft); transformers' are the keys of EncodecConfig.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from musicgen_core.codec.keymap import OLD_PARTS, Layers, codec_rules
from musicgen_core.config.codec_spec import (
    CONFIG_NAME,
    ENCODEC_MODEL_TYPE,
    TINY_MODEL_TYPE,
    WEIGHTS_NAME,
    read_model_config,
)
from musicgen_core.util.atomic import write_json
from musicgen_core.util.keyrules import to_ours, to_theirs

Settings = dict[str, Any]
State = dict[str, Tensor]

# transformers' defaults, which its config.json may leave out (models/encodec/configuration_encodec.py)
DEFAULTS: Settings = {
    "sampling_rate": 24_000,
    "audio_channels": 1,
    "normalize": False,
    "hidden_size": 128,
    "num_filters": 32,
    "num_residual_layers": 1,
    "upsampling_ratios": [8, 5, 4, 2],
    "norm_type": "weight_norm",
    "kernel_size": 7,
    "last_kernel_size": 7,
    "residual_kernel_size": 3,
    "dilation_growth_rate": 2,
    "use_causal_conv": True,
    "pad_mode": "reflect",
    "compress": 2,
    "num_lstm_layers": 2,
    "trim_right_ratio": 1.0,
    "codebook_size": 1024,
    "use_conv_shortcut": True,
    "target_bandwidths": [1.5, 3.0, 6.0, 12.0, 24.0],
}


def read_as_transformers(folder: Path) -> tuple[Settings, State]:
    """Settings and state of transformers' EncodecModel that codes and decodes as the codec in `folder` does.

    Either kind of folder. ValueError when its config is of no EnCodec.
    """
    settings, state = _read(folder)
    return _to_transformers(settings, state) if _is_audiocrafts(state) else (settings, state)


def read_as_audiocraft(folder: Path) -> tuple[Settings, State]:
    """AudioCraft's settings and state (of its EncodecModel) of the codec in `folder`."""
    settings, state = _read(folder)
    plain = any(name.endswith("conv.conv.weight") for name in state)
    if not _is_audiocrafts(state):
        state = to_ours(state, codec_rules(_layers(settings)))
    return to_audiocraft_settings(settings, norm="none" if plain else "weight_norm"), state


def write_codec(folder: Path, settings: Settings, state: Mapping[str, Tensor]) -> None:
    """Write transformers' settings and state as a codec folder, into an existing one; float32."""
    values = {"architectures": ["EncodecModel"], "model_type": ENCODEC_MODEL_TYPE, "dtype": "float32", **settings}
    values.setdefault("codebook_dim", values.get("hidden_size", DEFAULTS["hidden_size"]))
    write_json(folder / CONFIG_NAME, values)
    whole = {name: tensor.detach().float().cpu().contiguous() for name, tensor in rename_old(state).items()}
    save_file(whole, folder / WEIGHTS_NAME, metadata={"format": "pt"})


def from_audiocraft(config: Mapping[str, Any], state: Mapping[str, Tensor], source: str) -> tuple[Settings, State]:
    """AudioCraft's codec -> transformers' settings and state. ValueError names what has no counterpart."""
    settings = from_audiocraft_settings(config, source)
    try:
        return _to_transformers(settings, state)
    except KeyError as error:
        raise ValueError(f"{source}: {error.args[0]}") from None


def from_audiocraft_settings(config: Mapping[str, Any], source: str) -> Settings:
    """AudioCraft's sections `encodec`, `seanet` and `rvq` -> transformers' keys."""
    encodec, seanet, rvq = (dict(config.get(name) or {}) for name in ("encodec", "seanet", "rvq"))
    expected = {
        "compression_model": (config.get("compression_model", "encodec"), ("encodec",)),
        "encodec.quantizer": (encodec.get("quantizer", "rvq"), ("rvq",)),
        "encodec.renormalize": (bool(encodec.get("renormalize")), (False,)),
        "seanet.activation": (seanet.get("activation", "ELU"), ("ELU",)),
        "seanet.norm": (seanet.get("norm"), ("weight_norm", "none")),
        "seanet.disable_norm_outer_blocks": (seanet.get("disable_norm_outer_blocks", 0), (0,)),
    }
    for key, (value, allowed) in expected.items():
        if value not in allowed:
            raise ValueError(f"{source}: {key} is {value!r}; transformers' EncodecModel knows {allowed} only")
    settings: Settings = {
        "sampling_rate": int(encodec["sample_rate"]),
        "audio_channels": int(encodec["channels"]),
        "normalize": False,
        "hidden_size": int(seanet["dimension"]),
        "num_filters": int(seanet["n_filters"]),
        "num_residual_layers": int(seanet["n_residual_layers"]),
        "upsampling_ratios": [int(ratio) for ratio in seanet["ratios"]],
        "norm_type": "weight_norm",
        "kernel_size": int(seanet["kernel_size"]),
        "last_kernel_size": int(seanet["last_kernel_size"]),
        "residual_kernel_size": int(seanet["residual_kernel_size"]),
        "dilation_growth_rate": int(seanet["dilation_base"]),
        "use_causal_conv": bool(seanet["causal"]),
        "pad_mode": str(seanet["pad_mode"]),
        "compress": int(seanet["compress"]),
        "num_lstm_layers": int(seanet["lstm"]),
        "trim_right_ratio": float((seanet.get("decoder") or {}).get("trim_right_ratio", 1.0)),
        "codebook_size": int(rvq["bins"]),
        "codebook_dim": int(seanet["dimension"]),
        "use_conv_shortcut": not seanet["true_skip"],
    }
    settings["target_bandwidths"] = [choose_bandwidth(settings, int(rvq["n_q"]))]
    return settings


def to_audiocraft_settings(settings: Settings, norm: str) -> Settings:
    """transformers' keys -> AudioCraft's sections, complete enough for its `builders.get_compression_model`."""
    s = {**DEFAULTS, **settings}
    return {
        "compression_model": "encodec",
        "sample_rate": s["sampling_rate"],
        "channels": s["audio_channels"],
        "device": "cpu",
        "encodec": {
            "autoencoder": "seanet",
            "quantizer": "rvq",
            "sample_rate": s["sampling_rate"],
            "channels": s["audio_channels"],
            "causal": s["use_causal_conv"],
            "renormalize": False,
        },
        "seanet": {
            "dimension": s["hidden_size"],
            "channels": s["audio_channels"],
            "causal": s["use_causal_conv"],
            "n_filters": s["num_filters"],
            "n_residual_layers": s["num_residual_layers"],
            "ratios": list(s["upsampling_ratios"]),
            "activation": "ELU",
            "activation_params": {"alpha": 1.0},
            "norm": norm,
            "norm_params": {},
            "kernel_size": s["kernel_size"],
            "residual_kernel_size": s["residual_kernel_size"],
            "last_kernel_size": s["last_kernel_size"],
            "dilation_base": s["dilation_growth_rate"],
            "pad_mode": s["pad_mode"],
            "true_skip": not s["use_conv_shortcut"],
            "compress": s["compress"],
            "lstm": s["num_lstm_layers"],
            "disable_norm_outer_blocks": 0,
            "decoder": {
                "trim_right_ratio": s["trim_right_ratio"],
                "final_activation": None,
                "final_activation_params": None,
            },
            "encoder": {},
        },
        "rvq": {
            "n_q": count_codebooks(s),
            "q_dropout": False,
            "bins": s["codebook_size"],
            "decay": 0.99,
            "kmeans_init": True,
            "kmeans_iters": 50,
            "threshold_ema_dead_code": 2,
            "orthogonal_reg_weight": 0.0,
            "orthogonal_reg_active_codes_only": False,
        },
    }


def count_codebooks(settings: Settings) -> int:
    """EncodecConfig.num_quantizers: of the last bandwidth listed."""
    s = {**DEFAULTS, **settings}
    frame_rate_hz = math.ceil(s["sampling_rate"] / math.prod(s["upsampling_ratios"]))
    return int(1000 * s["target_bandwidths"][-1] // (frame_rate_hz * math.ceil(math.log2(s["codebook_size"]))))


def choose_bandwidth(settings: Settings, num_codebooks: int) -> float:
    """The bandwidth, in kb/s, from which transformers counts so many codebooks."""
    s = {**DEFAULTS, **settings}
    frame_rate_hz = math.ceil(s["sampling_rate"] / math.prod(s["upsampling_ratios"]))
    exact = num_codebooks * frame_rate_hz * math.ceil(math.log2(s["codebook_size"])) / 1000
    for bandwidth in (exact, math.nextafter(exact, math.inf)):
        if count_codebooks({**s, "target_bandwidths": [bandwidth]}) == num_codebooks:
            return bandwidth
    raise AssertionError(f"no bandwidth near {exact} gives {num_codebooks} codebooks")


def rename_old(state: Mapping[str, Tensor]) -> State:
    """Names of transformers before 2024 -> today's."""
    renamed = {}
    for name, tensor in state.items():
        for old, new in OLD_PARTS:
            if name.endswith(f".conv.{old}"):
                name = name.removesuffix(old) + new
        renamed[name] = tensor
    return renamed


def _read(folder: Path) -> tuple[Settings, State]:
    """Settings in transformers' keys; the state of a tiny codec in AudioCraft's names, else in transformers'."""
    values = read_model_config(folder)
    state = load_file(Path(folder) / WEIGHTS_NAME)
    if values.get("model_type") == TINY_MODEL_TYPE:
        return _tiny_settings(values), _tiny_state(state)
    if values.get("model_type") == ENCODEC_MODEL_TYPE:
        return {**DEFAULTS, **{key: values[key] for key in DEFAULTS if key in values}}, rename_old(state)
    raise ValueError(
        f"{folder}: model_type {values.get('model_type')!r} is no EnCodec; other layouts take EnCodec only"
    )


def _tiny_settings(values: Settings) -> Settings:
    settings: Settings = {
        **DEFAULTS,
        "sampling_rate": values["sample_rate_hz"],
        "audio_channels": values["num_channels"],
        "hidden_size": values["dimension"],
        "num_filters": values["num_filters"],
        "upsampling_ratios": list(values["ratios"]),
        "use_causal_conv": False,
        "num_lstm_layers": values["num_lstm_layers"],
        "codebook_size": values["card"],
        "codebook_dim": values["dimension"],
        "use_conv_shortcut": False,
    }
    settings["target_bandwidths"] = [choose_bandwidth(settings, values["num_codebooks"])]
    return settings


def _tiny_state(state: State) -> State:
    codebooks_KCD = state.pop("codebooks")
    for k, embed_CD in enumerate(codebooks_KCD):
        name = f"quantizer.vq.layers.{k}._codebook"
        state[f"{name}.embed"] = embed_CD.clone()
        state[f"{name}.embed_avg"] = embed_CD.clone()
        state[f"{name}.cluster_size"] = torch.ones(len(embed_CD))
        state[f"{name}.inited"] = torch.ones(1)
    return state


def _is_audiocrafts(state: State) -> bool:
    return any(name.startswith("encoder.model.") for name in state)


def _to_transformers(settings: Settings, state: Mapping[str, Tensor]) -> tuple[Settings, State]:
    """AudioCraft's names -> transformers'; an LSTM of zeros where there is none. KeyError names unknown weights."""
    layers = _layers(settings)
    converted = to_theirs(_with_weight_norm(state), codec_rules(layers), "transformers' EncodecModel")
    if layers.num_lstm_layers == 0:
        width = settings["num_filters"] * 2**layers.num_ratios
        for side in ("encoder", "decoder"):
            for name, shape in _lstm_shapes(width).items():
                converted[f"{side}.layers.{layers.lstm(side)}.lstm.{name}"] = torch.zeros(shape)
    return {**settings, "num_lstm_layers": max(1, layers.num_lstm_layers)}, converted


def _with_weight_norm(state: Mapping[str, Tensor]) -> State:
    """Plain convolution weights -> magnitude g and direction v.

    v is the weight itself and g its own norm, so that g / |v| is exactly 1 and the product is the weight, bit for bit.
    """
    normed: State = {}
    for name, weight in state.items():
        if not name.endswith((".conv.weight", ".convtr.weight")):
            normed[name] = weight
            continue
        stem = name.removesuffix("weight")
        magnitude = torch.norm_except_dim(weight, 2, 0)
        normed[f"{stem}weight_g"] = magnitude
        normed[f"{stem}weight_v"] = weight.masked_fill(magnitude == 0, 1.0)  # a dead filter: 0 times any direction
    return normed


def _layers(settings: Settings) -> Layers:
    return Layers(
        num_ratios=len(settings["upsampling_ratios"]),
        num_residual_layers=settings["num_residual_layers"],
        num_lstm_layers=settings["num_lstm_layers"],
    )


def _lstm_shapes(width: int) -> dict[str, tuple[int, ...]]:
    return {
        "weight_ih_l0": (4 * width, width),
        "weight_hh_l0": (4 * width, width),
        "bias_ih_l0": (4 * width,),
        "bias_hh_l0": (4 * width,),
    }
