"""A folder on disk -> a codec."""

from __future__ import annotations

from pathlib import Path

from musicgen_core.codec.base import Codec
from musicgen_core.config.codec_spec import TINY_MODEL_TYPE, read_model_config


def load_codec(folder: Path, device: str = "cpu") -> Codec:
    """Load the codec of a folder; config.json says of which kind it is.

    FileNotFoundError for an absent file; ValueError when the folder's config and weights do not fit each other, or
    the kind is unknown. Only safetensors are read, and nothing is fetched.
    """
    folder = Path(folder)
    if read_model_config(folder).get("model_type") == TINY_MODEL_TYPE:
        from musicgen_core.codec.tiny import TinyCodec

        return TinyCodec(folder, device)
    from musicgen_core.codec.encodec import EncodecCodec

    return EncodecCodec(folder, device)
