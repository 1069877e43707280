"""AudioCraft's `xp.cfg` (the resolved Hydra config beside a model's weights) in our terms, and the other way round.

Sources: config/model/lm/*.yaml, config/conditioner/*.yaml and audiocraft/models/builders.py in
facebookresearch/audiocraft.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from musicgen_core.config.condition import (
    AUDIO_KINDS,
    AttributeConditionConfig,
    ChromaConditionConfig,
    ConditionConfig,
    Fusion,
)
from musicgen_core.config.load import ConfigError, from_dict
from musicgen_core.config.model import ConditionerConfig, LutConditionerConfig, ModelConfig, T5ConditionerConfig
from musicgen_core.config.pattern import PatternConfig
from musicgen_core.layouts.chroma_keys import MELODY, OWN_KEY, count_frames, keep_own, read_stem
from musicgen_core.lm.interchange import is_stereo
from musicgen_core.lm.model import DESCRIPTION, LanguageModel

# what every MusicGen has; another value means another network
FIXED: dict[str, Any] = {
    "hidden_scale": 4,
    "norm": "layer_norm",
    "norm_first": True,
    "bias_ff": False,
    "bias_attn": False,
    "bias_proj": False,
    "causal": True,
    "layer_scale": None,
    "positional_embedding": "sin",
    "xpos": False,
    "qk_layer_norm": False,
    "qk_layer_norm_cross": False,
    "kv_repeat": 1,
    "activation": "gelu",
    "past_context": None,
}

# AudioCraft's names of the text encoders it can build, by width of a plain and of a gated (FLAN) T5
T5_NAMES: dict[tuple[int, bool], str] = {
    (512, False): "t5-small",
    (768, False): "t5-base",
    (1024, False): "t5-large",
    (512, True): "google/flan-t5-small",
    (768, True): "google/flan-t5-base",
    (1024, True): "google/flan-t5-large",
}


@dataclass(frozen=True)
class Pattern:
    """A pattern on its own, so that it can be checked as a part of the config is."""

    pattern: PatternConfig


_INTERPOLATION = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class ReadConfig:
    """What an xp.cfg says about the model."""

    model: ModelConfig
    conditioner: ConditionerConfig
    """Of a T5, `path` is AudioCraft's name of it."""

    sample_rate_hz: int
    num_channels: int
    interleaved: bool
    """Left and right have codebooks of their own."""

    segment_sec: float


def parse_config(text: str, source: str) -> dict[str, Any]:
    """YAML text with `${a.b}` references -> values. ValueError names `source`."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{source}: its xp.cfg is not YAML ({error})") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{source}: its xp.cfg is no mapping")
    return resolve(raw)


def resolve(raw: dict[str, Any]) -> dict[str, Any]:
    """Replace every value that is a reference, `${a.b}`, by what it refers to; unknown ones become None."""

    def look_up(path: str, depth: int) -> Any:
        value: Any = raw
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return walk(value, depth + 1)

    def walk(value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, depth) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, depth) for item in value]
        found = _INTERPOLATION.fullmatch(value) if isinstance(value, str) else None
        return look_up(found[1], depth) if found and depth < 8 else value

    return walk(raw, 0)


def read_lm_config(config: Mapping[str, Any], source: str) -> ReadConfig:
    """ValueError names `source`, the key, its value and what is known here."""
    if config.get("lm_model", "transformer_lm") != "transformer_lm":
        raise ValueError(f"{source}: lm_model is {config['lm_model']!r}; this is no MusicGen (transformer_lm)")
    lm = _section(config, "transformer_lm", source)
    for key, expected in FIXED.items():
        if key in lm and lm[key] != expected:
            raise ValueError(f"{source}: transformer_lm.{key} is {lm[key]!r}; MusicGen's network has {expected!r}")
    fusions = _read_fusions(_section(config, "fuser", source))
    conditioner: ConditionerConfig | None = None
    conditions: dict[str, ConditionConfig] = {}
    for name, value in _section(config, "conditioners", source).items():
        if name == "args":
            continue
        if name not in fusions:
            raise ValueError(f"{source}: conditioner {name} is in none of the fuser's lists")
        if name == DESCRIPTION:
            conditioner = _read_words(value, fusions[name], source)
        else:
            conditions[name] = _read_condition(name, value, fusions[name], config, source)
    if conditioner is None:
        raise ValueError(f"{source}: no conditioner `{DESCRIPTION}`; models without words are not read")
    _check_prefix(list(config["conditioners"]), conditions, fusions, source)
    num_codebooks = int(lm["n_q"])
    stereo = config.get("interleave_stereo_codebooks") or {}
    return ReadConfig(
        model=ModelConfig(
            dim=int(lm["dim"]),
            num_heads=int(lm["num_heads"]),
            num_layers=int(lm["num_layers"]),
            num_codebooks=num_codebooks,
            card=int(lm["card"]),
            pattern=_read_pattern(config.get("codebooks_pattern") or {}, source),
            mask_condition_padding=False,
            conditions=conditions,
        ),
        conditioner=conditioner,
        sample_rate_hz=_rate_hz(config),
        num_channels=int(config.get("channels") or 1),
        interleaved=bool(stereo.get("use")),
        segment_sec=_segment_sec(config, source),
    )


def write_lm_config(model: LanguageModel, sample_rate_hz: int, segment_sec: float) -> dict[str, Any]:
    """An xp.cfg that AudioCraft's `load_lm_model` and `MusicGen` build the model from."""
    dim, num_heads, num_layers = model.config.shape
    stereo = is_stereo(model)
    fuser: dict[str, Any] = {kind: [] for kind in ("sum", "prepend", "cross", "input_interpolate")}
    for name, fusion in model.fusions.items():
        fuser[fusion].append(name)
    written = {
        "solver": "musicgen",
        "device": "cpu",
        "dtype": "float32",
        "sample_rate": sample_rate_hz,
        "channels": 2 if stereo else 1,
        "compression_model_checkpoint": None,
        "compression_model_n_q": None,
        "interleave_stereo_codebooks": {"use": stereo, "per_timestep": False},
        "lm_model": "transformer_lm",
        "codebooks_pattern": _write_pattern(model),
        "transformer_lm": {
            "dim": dim,
            "num_heads": num_heads,
            "num_layers": num_layers,
            "n_q": model.num_codebooks,
            "card": model.card,
            "dropout": model.config.dropout,
            "emb_lr": None,
            "custom": False,
            "memory_efficient": True,
            "attention_as_float32": False,
            "checkpointing": "none",
            "weight_init": "gaussian",
            "depthwise_init": "current",
            "zero_bias_init": True,
            "cross_attention": bool(fuser["cross"]),
            "attention_dropout": None,
            "two_step_cfg": False,
            **FIXED,
        },
        "classifier_free_guidance": {"training_dropout": 0.0, "inference_coef": 3.0},
        "attribute_dropout": {},
        "fuser": {"cross_attention_pos_emb": False, "cross_attention_pos_emb_scale": 1, **fuser},
        "conditioners": _write_conditioners(model),
        "dataset": {"segment_duration": segment_sec},
    }
    chroma = model.config.conditions.get(MELODY)
    return {**written, OWN_KEY: keep_own(chroma)} if isinstance(chroma, ChromaConditionConfig) else written


def _rate_hz(config: Mapping[str, Any]) -> int:
    return int(config.get("sample_rate") or 32_000)


def _segment_sec(config: Mapping[str, Any], source: str) -> float:
    return float(_section(config, "dataset", source).get("segment_duration") or 30.0)


def _section(config: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    found = config.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"{source}: its xp.cfg has no section {name}; this is no language model of AudioCraft")
    return found


def _read_fusions(fuser: Mapping[str, Any]) -> dict[str, Fusion]:
    kinds: tuple[Fusion, ...] = ("cross", "prepend", "sum", "input_interpolate")
    return {str(name): kind for kind in kinds for name in fuser.get(kind) or []}


def _check_prefix(
    names: list[str], conditions: Mapping[str, ConditionConfig], fusions: Mapping[str, Fusion], source: str
) -> None:
    """ValueError for a prefix in another order than ours: AudioCraft puts texts, as listed, before recordings."""
    known = [name for name in names if name == DESCRIPTION or name in conditions]
    theirs = sorted(known, key=lambda name: name in conditions and conditions[name].kind in AUDIO_KINDS)
    ours = [DESCRIPTION, *sorted(conditions)]
    there, here = ([name for name in order if fusions[name] == "prepend"] for order in (theirs, ours))
    if there != here:
        raise ValueError(
            f"{source}: its prefix is {', '.join(reversed(there))}, here it would be {', '.join(reversed(here))}: "
            "the words next to the codes, then the others by name"
        )


def _read_words(value: Mapping[str, Any], fusion: Fusion, source: str) -> ConditionerConfig:
    kind = value.get("model")
    if kind == "t5":
        return T5ConditionerConfig(kind="t5", path=str(value["t5"]["name"]), fusion=fusion)
    if kind == "lut":
        table = value["lut"]
        return LutConditionerConfig(num_bins=int(table["n_bins"]), dim=int(table["dim"]), fusion=fusion)
    raise ValueError(f"{source}: conditioners.{DESCRIPTION}.model is {kind!r}; known are t5 and lut")


def _read_condition(
    name: str, value: Mapping[str, Any], fusion: Fusion, config: Mapping[str, Any], source: str
) -> ConditionConfig:
    kind = value.get("model")
    if kind == "chroma_stem":
        chroma = value["chroma_stem"]
        rate_hz = int(chroma.get("sample_rate") or _rate_hz(config))
        num_frames = count_frames(_segment_sec(config, source), rate_hz, int(chroma["radix2_exp"]))
        known = {"fusion": fusion, "sample_rate_hz": rate_hz, "num_frames": num_frames}
        return read_stem(chroma, config, known, source)
    if kind == "lut" and value["lut"].get("tokenizer") == "noop" and name in ("title", "artist"):
        raise ValueError(
            f"{source}: conditioners.{name}: AudioCraft hashes a {name} as it is written, this project in lower case; "
            "the table's rows would stand for other values"
        )
    if kind == "lut" and value["lut"].get("tokenizer") == "noop":
        table = value["lut"]
        return AttributeConditionConfig(
            kind="attribute", fusion=fusion, num_bins=int(table["n_bins"]), dim=int(table["dim"])
        )
    raise ValueError(f"{source}: conditioners.{name}.model is {kind!r}; known are chroma_stem, and lut with noop")


def _read_pattern(section: Mapping[str, Any], source: str) -> PatternConfig:
    """The pattern's own section; its keys are ours. AudioCraft ignores `music_lm` and groups by 2."""
    kind = section.get("modeling") or "delay"
    known = {key: value for key, value in (section.get(kind) or {}).items() if value is not None}
    try:
        return from_dict(Pattern, {"pattern": {"kind": kind, **known}}, source).pattern
    except ConfigError as error:
        raise ValueError(f"{source}: codebooks_pattern is not understood ({error})") from None


def _write_pattern(model: LanguageModel) -> dict[str, Any]:
    values = asdict(model.config.pattern)
    kind = values.pop("kind")
    return {"modeling": kind, kind: {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}}


def _write_conditioners(model: LanguageModel) -> dict[str, Any]:
    from musicgen_core.conditioners.lut import LutConditioner
    from musicgen_core.conditioners.t5 import T5Conditioner

    written: dict[str, Any] = {}
    words = model.conditioner
    if isinstance(words, LutConditioner):
        rows, width = words.embed.weight.shape
        table = {"n_bins": rows, "dim": width, "tokenizer": "whitespace", "pad_idx": 0}
        written[DESCRIPTION] = {"model": "lut", "lut": table}
    else:
        assert isinstance(words, T5Conditioner)
        name = t5_name(words.encoder.folder)
        encoder = {"name": name, "finetune": False, "word_dropout": 0.0, "normalize_text": False}
        written[DESCRIPTION] = {"model": "t5", "t5": encoder}
    for name, condition in model.config.conditions.items():
        if isinstance(condition, ChromaConditionConfig):
            chroma = {
                "sample_rate": condition.sample_rate_hz,
                "n_chroma": 12,
                "radix2_exp": condition.radix2_exp,
                "argmax": condition.argmax,
                "match_len_on_eval": False,
                "eval_wavs": None,
                "n_eval_wavs": 100,
                "cache_path": None,
            }
            written[name] = {"model": "chroma_stem", "chroma_stem": chroma}
        elif isinstance(condition, AttributeConditionConfig):
            table = {"n_bins": condition.num_bins, "dim": condition.dim, "tokenizer": "noop", "pad_idx": 0}
            written[name] = {"model": "lut", "lut": table}
        else:
            raise ValueError(f"AudioCraft has no counterpart of condition {name} ({condition.kind})")
    return written


def t5_name(folder: Path) -> str:
    """AudioCraft's name of the T5 in a folder, by its width. ValueError when it can build none so wide."""
    from musicgen_core.config.codec_spec import read_model_config

    values = read_model_config(folder)
    width, gated = int(values["d_model"]), "gated" in str(values.get("feed_forward_proj", ""))
    if (width, gated) not in T5_NAMES:
        raise ValueError(f"{folder}: a T5 of width {width}; AudioCraft builds {sorted({w for w, _ in T5_NAMES})} only")
    return T5_NAMES[width, gated]
