"""A codec's folder copied: what an export carries, so that a codec that is replaced later does not orphan it."""

from __future__ import annotations

import shutil
from pathlib import Path

from musicgen_core.config.codec_spec import CONFIG_NAME, WEIGHTS_NAME

COPIED = (CONFIG_NAME, WEIGHTS_NAME)
COPIED_IF_THERE = ("provenance.json", "README.md", "LICENSE", "LICENSE.md", "preprocessor_config.json")


def copy_codec(source: Path, folder: Path) -> None:
    """Copy weights, settings and papers of a codec into an existing folder; its digest stays the same."""
    for name in COPIED:
        shutil.copyfile(source / name, folder / name)
    for name in COPIED_IF_THERE:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
