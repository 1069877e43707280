"""The stages: one file, one `run`, one rule, one command each.

A stage's version is part of what its outputs depend on: raise it whenever the stage's result changes.
"""

from __future__ import annotations

from typing import NamedTuple


class Stage(NamedTuple):
    version: int
    summary: str
    outputs: tuple[str, ...] = ()
    """Arguments of `run` that name what it writes: sealed by a receipt (util/receipt.py)."""

    asides: tuple[str, ...] = ("where", "locations", "run_dir", "results", "upkeep")
    """Arguments that name places and no inputs; what lies in a run's folder has digests of its own."""


STAGES: dict[str, Stage] = {
    "scan": Stage(3, "take stock of the corpora: every file is used, or rejected with a reason"),
    "resample": Stage(
        2, "decode one bucket to FLAC at the codec's rate, in a WebDataset tar", ("out_tar", "out_jsonl")
    ),
    "manifest": Stage(2, "write train, valid, evaluate and generate JSONL of one corpus", ("out",)),
    "tokenize": Stage(1, "encode one bucket into codes, in a WebDataset tar", ("out",)),
    "index": Stage(2, "index one corpus's token shards for random access", ("out",)),
    "train": Stage(3, "train one run; resumes by itself"),
    "export": Stage(4, "write a trained model as safetensors and JSON", ("out",)),
    "generate": Stage(2, "generate audio from prompts with an exported model", ("out",)),
    "evaluate": Stage(2, "measure an exported model on held-out music", ("out", "references")),
    "report": Stage(1, "write one self-contained HTML page about a run", ("out",)),
}
