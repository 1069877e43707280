"""Content digests. One form everywhere: the first 16 bytes of BLAKE3 as 32 hex digits."""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from musicgen_core import native


def digest_json(value: Any) -> str:
    """Digest of a JSON value or dataclass; the order of keys does not matter."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    return native.hash_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode())


def digest_file(path: Path) -> str:
    return native.hash_file(path)


def digest_lines(lines: list[str]) -> str:
    """Digest of a list of strings without line breaks."""
    return native.hash_bytes("\n".join(lines).encode())
