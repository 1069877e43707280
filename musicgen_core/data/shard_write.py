"""Write WebDataset tars. The same members give the same bytes, whenever and wherever they are written."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_core.util.atomic import atomic_path


class ShardWriter:
    """Adds members to an open tar: POSIX ustar headers, mtime 0, uid 0, mode 644."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))

    def add_json(self, name: str, value: dict[str, Any]) -> None:
        self.add(name, json.dumps(value, sort_keys=True, ensure_ascii=False).encode())

    def add_array(self, name: str, array: np.ndarray) -> None:
        """Add an array as .npy, C order."""
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
        self.add(name, buffer.getvalue())


@contextmanager
def open_shard(path: Path) -> Iterator[ShardWriter]:
    """Write a tar that appears under its name only when the block ends without an exception. It may stay empty."""
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        yield ShardWriter(tar)
