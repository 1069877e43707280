"""`musicgen schema`: the JSON Schema of config.yaml, for editors and for snakemake's validate."""

from __future__ import annotations

from pathlib import Path

from musicgen_core.config.load import json_schema
from musicgen_core.util.atomic import write_json


def run(*, out: Path = Path("workflow/schemas/config.schema.json")) -> None:
    """Write the schema; a test compares the committed file with a fresh one."""
    write_json(out, json_schema())
