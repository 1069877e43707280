"""Which stems of a recording count as its melody."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SeparationConfig:
    """Stems by HT-Demucs, through the optional package `demucs` (pip install 'musicgen-core[separate]')."""

    path: str
    """Local folder with a demucs model (one .yaml and its .safetensors), or a hub id that `musicgen fetch` has
    resolved, such as adefossez/HTDemucs."""

    revision: str | None = None
    """Commit hash of the hub id; required when `path` is a hub id."""

    stems: tuple[str, ...] = ("vocals", "other")
    """What is kept, summed; AudioCraft's choice, which leaves out drums and bass."""
