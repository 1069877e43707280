"""A config that holds only what differs from config.yaml, laid over it as `snakemake --configfile` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from musicgen_core.config.load import ConfigError, parse_config, read_config
from musicgen_core.config.root import RootConfig

BASE = Path("config.yaml")
"""The workflow's own `configfile:`, in the working directory."""


def load_overlay(path: Path) -> RootConfig:
    """Read and check `path`, laid over config.yaml where that is another file. Raises ConfigError naming the file.

    Mappings are merged key by key, anything else is replaced: snakemake/utils.py, update_config.
    """
    raw = read_config(path)
    if BASE.exists() and path.resolve() != BASE.resolve():
        raw = merge(read_config(BASE), raw)
        where = f"{path} laid over {BASE}"
    else:
        where = str(path)
    try:
        return parse_config(raw)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def merge(below: Any, above: dict[Any, Any]) -> dict[Any, Any]:
    """`above` laid over `below`; neither is changed."""
    merged = dict(below) if isinstance(below, dict) else {}
    for key, value in above.items():
        if value == {}:  # says nothing, whatever it is laid over
            merged.setdefault(key, {})
        else:
            merged[key] = merge(merged.get(key), value) if isinstance(value, dict) else value
    return merged
