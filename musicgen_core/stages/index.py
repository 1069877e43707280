"""Index: list every track of one corpus's token shards, so that readers find its codes without opening a tar."""

from __future__ import annotations

from pathlib import Path

from musicgen_core import native
from musicgen_core.config.root import IndexStageConfig


def run(config: IndexStageConfig, *, shards: list[Path], out: Path) -> None:
    """Index `shards`, and no other file that may lie beside them, into `out`; its format is in docs/formats.md.

    Raises native.ShardError that names a shard which is damaged or of another codec.
    """
    native.write_token_index(out, shards, config.codec_digest, config.card)
