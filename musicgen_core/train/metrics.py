"""The run's curves: history.jsonl, which is the record, and TensorBoard beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from musicgen_core.util.atomic import write_jsonl


class History:
    """Appends one JSON line per event, each flushed at once.

    On resume, lines after the resumed step are cut, and so is a last line torn by a kill: every step appears once.
    """

    def __init__(self, run_dir: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = run_dir / "history.jsonl"
        self.lines = [line for line in _read_whole_lines(self.path) if line["step"] <= step]
        write_jsonl(self.path, self.lines)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)
        self._board = SummaryWriter(run_dir / "tensorboard", purge_step=step + 1)

    def add(self, line: dict[str, Any]) -> None:
        """`line` has `kind` (train or valid), `step`, `loss`, `loss_per_codebook` and whatever else is a number."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self.lines.append(line)
        for name, value in line.items():
            if name == "loss_per_codebook":
                for k, loss in enumerate(value):
                    self._board.add_scalar(f"{line['kind']}/loss_codebook_{k}", loss, line["step"])
            elif isinstance(value, float):
                self._board.add_scalar(f"{line['kind']}/{name}", value, line["step"])

    def last(self, kind: str) -> dict[str, Any] | None:
        return next((line for line in reversed(self.lines) if line["kind"] == kind), None)

    def sync(self) -> None:
        """Force the lines to disk: they must not be older than a checkpoint."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._board.flush()

    def close(self) -> None:
        self._file.close()
        self._board.close()


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
