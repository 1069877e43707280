"""The stages: one file, one `run`, one rule, one command each.

A stage's version is part of what its outputs depend on: raise it whenever the stage's result changes.
"""

from __future__ import annotations

from typing import NamedTuple


class Stage(NamedTuple):
    version: int
    summary: str


STAGES: dict[str, Stage] = {
    "scan": Stage(1, "take stock of the corpora: every file is used, or rejected with a reason"),
    "resample": Stage(1, "decode one bucket to FLAC at the codec's rate, in a WebDataset tar"),
    "manifest": Stage(1, "write train, valid, evaluate and generate JSONL of one corpus"),
    "tokenize": Stage(1, "encode one bucket into codes, in a WebDataset tar"),
    "index": Stage(1, "index one corpus's token shards for random access"),
    "train": Stage(1, "train one run; resumes by itself"),
    "export": Stage(1, "write a trained model as safetensors and JSON"),
    "generate": Stage(1, "generate audio from prompts with an exported model"),
    "evaluate": Stage(1, "measure an exported model on held-out music"),
    "report": Stage(1, "write one self-contained HTML page about a run"),
}
