"""Digests of bytes and files."""

from __future__ import annotations

from collections.abc import Sequence

from musicgen_core import _rust_loader
from musicgen_core.native.types import PathLike


def hash_bytes(data: bytes) -> str:
    """Digest: the first 16 bytes of BLAKE3, as 32 hex digits."""
    return _rust_loader.hash_bytes(data)


def hash_file(path: PathLike) -> str:
    """Digest of a file's bytes; FileNotFoundError or another OSError when it cannot be read."""
    return _rust_loader.hash_file(path)


def hash_files(paths: Sequence[PathLike], num_threads: int = 0) -> list[tuple[str | None, str | None]]:
    """Digests of many files, in parallel (0 threads: one per core) and in order: for each path (digest, None), or
    (None, message) when it cannot be read."""
    return _rust_loader.hash_files(list(paths), num_threads)
