"""The run's curves: history.jsonl, which is the record, and sinks beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from musicgen_core.train.sinks import open_sinks
from musicgen_core.util.atomic import write_jsonl


class History:
    """Appends one JSON line per event, each flushed at once.

    On resume, lines after the resumed step are cut, and so is a last line torn by a kill: every step appears once.
    """

    def __init__(self, run_dir: Path, step: int, sinks: Sequence[str] = ()) -> None:
        self.path = run_dir / "history.jsonl"
        self.lines = [line for line in _read_whole_lines(self.path) if line["step"] <= step]
        write_jsonl(self.path, self.lines)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)
        self._sinks = open_sinks(sinks, run_dir, step, self.lines)

    def add(self, line: dict[str, Any]) -> None:
        """`line` has `kind` (train, valid, epoch), `step`, `loss`, `loss_per_codebook` and other numbers."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self.lines.append(line)
        for sink in self._sinks:
            sink.add(line)

    def last(self, kind: str) -> dict[str, Any] | None:
        return next((line for line in reversed(self.lines) if line["kind"] == kind), None)

    def has(self, kind: str, step: int) -> bool:
        return any(line["kind"] == kind and line["step"] == step for line in self.lines)

    def sync(self) -> None:
        """Force the lines to disk: they must not be older than a checkpoint."""
        self._file.flush()
        os.fsync(self._file.fileno())
        for sink in self._sinks:
            sink.sync()

    def close(self) -> None:
        self._file.close()
        for sink in self._sinks:
            sink.close()


def _read_whole_lines(path: Path) -> list[dict[str, Any]]:
    """Lines up to the first that is not JSON: only a kill in mid-write makes one, and only at the end."""
    lines = []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break
    return lines
