"""DONE, the marker of a finished training: what came out, and the digests of the files that tell how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from musicgen_core.util.atomic import write_json
from musicgen_core.util.digest import digest_file, digest_json
from musicgen_core.util.receipt import Seal

NAME = "DONE"
SEALED = ("config.json", "history.jsonl")


def write_done(run_dir: Path, facts: dict[str, Any]) -> None:
    """Write the marker, last of all: the run's config and its curves are sealed in it, and it by its own digest."""
    sealed = {
        name: {"num_bytes": (run_dir / name).stat().st_size, "digest": digest_file(run_dir / name)} for name in SEALED
    }
    done = {**facts, "files": sealed}
    write_json(run_dir / NAME, {**done, "digest": digest_json(done)})


def read_done(run_dir: Path) -> dict[Path, Seal]:
    """Seals of the files that the marker seals; none for a marker of a version that sealed nothing.

    Raises ValueError when it is torn or altered.
    """
    try:
        done = json.loads((run_dir / NAME).read_text(encoding="utf-8"))
        if "digest" in done and done.pop("digest") != digest_json(done):
            raise ValueError("is not as it was written: it was altered")
        files = done.get("files", {}).items()
        return {run_dir / name: Seal(num_bytes=f["num_bytes"], mtime_ns=0, digest=f["digest"]) for name, f in files}
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError, AttributeError):
        raise ValueError("is torn") from None
