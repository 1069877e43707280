"""What the pipeline must know of a codec, read from its folder without loading it (and without torch)."""

from __future__ import annotations

import json
import math
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from musicgen_core import native
from musicgen_core.config.codec_channels import with_channels
from musicgen_core.config.data import CodecConfig, CodecSpec, EncodecCodecConfig
from musicgen_core.config.model import T5ConditionerConfig
from musicgen_core.config.pattern import resolve_pattern
from musicgen_core.config.root import RunConfig
from musicgen_core.config.store import asset_name, read_license, read_lock, require_commercial, resolve_asset

TINY_MODEL_TYPE = "musicgen_core_tiny_codec"
ENCODEC_MODEL_TYPE = "encodec"
WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"

# transformers' EncodecConfig leaves keys at these values out of config.json (transformers 5.23, configuration_encodec)
_ENCODEC_DEFAULTS: dict[str, Any] = {
    "sampling_rate": 24_000,
    "audio_channels": 1,
    "codebook_size": 1024,
    "upsampling_ratios": [8, 5, 4, 2],
    "target_bandwidths": [1.5, 3.0, 6.0, 12.0, 24.0],
    "normalize": False,
    "chunk_length_s": None,
}


def read_codec_spec(config: CodecConfig) -> tuple[CodecSpec, Path]:
    """Resolve a codec's config to (spec, folder).

    FileNotFoundError when the folder or a file of it is absent; ValueError when it holds another kind of codec, has no
    safetensors weights, has other channels, or is under a non-commercial licence that the config does not accept.
    """
    if isinstance(config, EncodecCodecConfig):
        folder = resolve_asset(config.path, config.revision, "codec.path")
        values = read_model_config(folder)
        origin = str(values.get("_name_or_path") or config.path) if config.revision is None else config.path
        require_commercial(read_license(folder), origin, config.accept_noncommercial, "codec.accept_noncommercial")
        expected, other = ENCODEC_MODEL_TYPE, "tiny"
    else:
        folder = Path(config.path) if config.path is not None else shipped_codec_folder()
        values = read_model_config(folder)
        expected, other = TINY_MODEL_TYPE, "encodec"
    if values.get("model_type") != expected:
        raise ValueError(
            f"{folder / CONFIG_NAME}: model_type is {values.get('model_type')!r}, but codec.kind {config.kind} needs "
            f"{expected!r}; set codec.kind: {other}, or name another folder in codec.path"
        )
    return with_channels(read_codec_folder(folder), config.num_channels, folder), folder


def check_fit(run: RunConfig, codec: CodecSpec) -> None:
    """ValueError when a run cannot be trained on this codec, or its text encoder is absent: before hours of work."""
    for key in ("num_codebooks", "card"):
        expected, actual = getattr(run.model, key), getattr(codec, key)
        if expected is not None and expected != actual:
            raise ValueError(
                f"runs.{run.name}: model.{key} is {expected}, but codec {codec.name} has {actual}; "
                f"set model.{key} to {actual} or null, or choose another codec"
            )
    try:
        resolve_pattern(run.model.pattern, codec)
    except ValueError as error:
        raise ValueError(f"runs.{run.name}: {error}") from None
    if isinstance(run.conditioner, T5ConditionerConfig):
        path, revision = run.conditioner.path, run.conditioner.revision
        if revision is None or asset_name(path, revision) not in read_lock():  # what is there, training checks itself
            resolve_asset(path, revision, "conditioner.path")


def shipped_codec_folder() -> Path:
    """The tiny codec that comes with the package."""
    return Path(str(files("musicgen_core"))) / "assets" / "tiny_codec"


def read_codec_folder(folder: Path) -> CodecSpec:
    """Spec of the codec in a folder, of either kind. ValueError names the file, the number and the remedy."""
    folder = Path(folder)
    values = read_model_config(folder)
    if not (folder / WEIGHTS_NAME).is_file():
        pickled = sorted(p.name for p in folder.glob("*.bin"))
        because = f" ({pickled[0]} is a pickle, which is never loaded)" if pickled else ""
        raise FileNotFoundError(f"{folder / WEIGHTS_NAME}: absent{because}; a codec's weights are one safetensors file")
    digest = native.hash_bytes(
        "\n".join(f"{name} {native.hash_file(folder / name)}" for name in (CONFIG_NAME, WEIGHTS_NAME)).encode()
    )
    kind = values.get("model_type")
    if kind == TINY_MODEL_TYPE:
        return _read_tiny(folder / CONFIG_NAME, values, digest)
    if kind == ENCODEC_MODEL_TYPE:
        return _read_encodec(folder, {**_ENCODEC_DEFAULTS, **values}, digest)
    raise ValueError(
        f"{folder / CONFIG_NAME}: model_type {kind!r} is no known codec; expected {TINY_MODEL_TYPE!r} or "
        f"{ENCODEC_MODEL_TYPE!r}"
    )


def read_model_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json. FileNotFoundError or ValueError names it."""
    path = Path(folder) / CONFIG_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: absent; {folder} is no codec folder") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error.msg})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def codec_bandwidth(values: dict[str, Any]) -> float:
    """The bandwidth, in kb/s, that uses all codebooks of a transformers EncodecModel: the largest it lists.

    transformers itself takes the *smallest* when none is given; it sizes its quantizer by the last one listed.
    """
    return max({**_ENCODEC_DEFAULTS, **values}["target_bandwidths"])


def _read_tiny(path: Path, values: dict[str, Any], digest: str) -> CodecSpec:
    try:
        return CodecSpec(
            name=values["name"],
            digest=digest,
            sample_rate_hz=values["sample_rate_hz"],
            num_channels=values["num_channels"],
            num_codebooks=values["num_codebooks"],
            card=values["card"],
            hop_samples=math.prod(values["ratios"]),
        )
    except KeyError as error:
        raise ValueError(f"{path}: key {error} is missing; write the folder by `musicgen train-codec`") from None


def _read_encodec(folder: Path, values: dict[str, Any], digest: str) -> CodecSpec:
    path = folder / CONFIG_NAME
    if values["normalize"] or values["chunk_length_s"] is not None:
        raise ValueError(
            f"{path}: normalize is {values['normalize']} and chunk_length_s is {values['chunk_length_s']}; such codes "
            "need a scale per chunk, which tokens do not carry. Use a codec without, such as facebook/encodec_32khz"
        )
    hop = math.prod(values["upsampling_ratios"])
    # as transformers counts them: EncodecConfig.num_quantizers, with a whole frame rate
    frame_rate = math.ceil(values["sampling_rate"] / hop)
    num_bits = math.ceil(math.log2(values["codebook_size"]))
    return CodecSpec(
        name=_folder_name(folder),
        digest=digest,
        sample_rate_hz=values["sampling_rate"],
        num_channels=values["audio_channels"],
        num_codebooks=int(1000 * codec_bandwidth(values) // (frame_rate * num_bits)),
        card=values["codebook_size"],
        hop_samples=hop,
    )


def _folder_name(folder: Path) -> str:
    """Short name, safe in paths: `encodec_32khz`, also for the store's facebook--encodec_32khz/REVISION."""
    folder = Path(folder).resolve()
    name = folder.parent.name.split("--")[-1] if re.fullmatch(r"[0-9a-f]{40}", folder.name) else folder.name
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)
