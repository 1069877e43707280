"""A folder on disk -> a codec."""

from __future__ import annotations

from pathlib import Path

from musicgen_core.codec.base import Codec
from musicgen_core.codec.stereo import StereoCodec
from musicgen_core.config.codec_channels import with_channels
from musicgen_core.config.codec_spec import TINY_MODEL_TYPE, read_model_config


def load_codec(folder: Path, device: str = "cpu", num_channels: int | None = None) -> Codec:
    """Load the codec of a folder; config.json says of which kind it is.

    `num_channels` 2 makes a stereo codec of a mono one; None takes it as it is. FileNotFoundError for an absent file;
    ValueError when the folder's config and weights do not fit each other, the kind is unknown, or the codec has other
    channels. Only safetensors are read, and nothing is fetched.
    """
    codec = _load(Path(folder), device)
    stereo = with_channels(codec.spec, num_channels, folder) != codec.spec
    return StereoCodec(codec, folder) if stereo else codec


def _load(folder: Path, device: str) -> Codec:
    if read_model_config(folder).get("model_type") == TINY_MODEL_TYPE:
        from musicgen_core.codec.tiny import TinyCodec

        return TinyCodec(folder, device)
    from musicgen_core.codec.encodec import EncodecCodec

    return EncodecCodec(folder, device)
