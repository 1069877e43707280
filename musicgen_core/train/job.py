"""What a process is told about the run that it takes part in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from musicgen_core.config.root import TrainStageConfig
from musicgen_core.config.upkeep import UpkeepConfig


@dataclass(frozen=True)
class TrainJob:
    """All that a process needs to take part in a run. Can be pickled; paths are absolute."""

    config: TrainStageConfig
    manifests: tuple[Path, ...]
    """Corpus folders with train.jsonl and valid.jsonl."""

    indexes: tuple[Path, ...]
    """Token index of each corpus, in the same order."""

    run_dir: Path
    num_threads: int
    """CPU threads of each process."""

    continue_from: Path | None = None
    """Folder of the run whose newest checkpoint this one starts from, at step 0."""

    extend_from: Path | None = None
    """Folder of the run that this one makes longer."""

    init_from: Path | None = None
    """Folder of the run that training.init_from names."""

    init_digest: str = ""
    """Digest of the weights that training.init_from names."""

    stage_version: int = 1
    """Version of the train stage; kept in config.json."""

    audio: tuple[Path, ...] = ()
    """Prepared tars CORPUS/BUCKET.tar, for a model that is conditioned on recordings."""

    upkeep: UpkeepConfig = field(default_factory=UpkeepConfig)
