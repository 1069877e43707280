"""With what a run was made: packages, and the code itself."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import torch

import musicgen_core
from musicgen_core import native
from musicgen_core.util.digest import digest_lines

PACKAGES = ("numpy", "torch", "torchaudio", "transformers", "encodec", "safetensors")
"""Of what numbers may depend on."""


def versions() -> dict[str, str]:
    """Name -> version; a package that is not installed is left out."""
    found = {"musicgen_core": musicgen_core.__version__, "python": platform.python_version()}
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def digest_code() -> dict[str, str]:
    """Digests of all Python files of musicgen_core, by relative path and content, and of the compiled extension."""
    root = Path(musicgen_core.__file__).parent
    return {kind: _digest(root, ending) for kind, ending in (("python", ".py"), ("extension", ".so"))}


def _digest(root: Path, ending: str) -> str:
    paths = sorted(root.rglob(f"*{ending}"))
    lines = []
    for path, (digest, error) in zip(paths, native.hash_files(paths), strict=True):
        lines.append(f"{path.relative_to(root).as_posix()} {digest or error}")
    return digest_lines(lines)
