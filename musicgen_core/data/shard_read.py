"""Read WebDataset tars from front to back."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path


def list_members(path: Path) -> list[str]:
    """Names of the members in their order. Raises ValueError that names a tar which is damaged."""
    return [name for name, _ in _read(path, data=False)]


def read_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of each member. Raises ValueError that names a tar which is damaged or cut short."""
    return _read(path, data=True)


def _read(path: Path, data: bool) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                handle = tar.extractfile(member)
                content = handle.read() if data and handle is not None else b""
                if data and len(content) != member.size:
                    raise tarfile.ReadError(f"{member.name} is cut short")
                yield member.name, content
    except tarfile.TarError as error:
        raise ValueError(f"{path}: damaged tar ({error}); delete it and start snakemake again") from None
