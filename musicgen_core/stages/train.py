"""Train: one run, from its first step or from its newest checkpoint, to DONE."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from musicgen_core.config.load import from_json
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.config.training import LaunchConfig
from musicgen_core.config.upkeep import UpkeepConfig
from musicgen_core.stages import STAGES


def run(
    config: TrainStageConfig,
    *,
    manifests: list[Path],
    indexes: list[Path],
    run_dir: Path,
    audio: list[Path] | None = None,
    continue_from: str = "",
    extend_from: str = "",
    init_from: str = "",
    init_digest: str = "",
    upkeep: Path | None = None,
    launcher: Literal["none", "torchrun", "submitit"] = "none",
    nodes: int = 1,
    processes_per_node: int = 1,
    gpus_per_node: int = 0,
    cpus_per_process: int = 1,
    memory_mb: int = 4000,
    runtime_min: int = 60,
    partition: str = "",
    account: str = "",
) -> None:
    """Train one run; the same command resumes it.

    `manifests` are corpus folders with train.jsonl and valid.jsonl, `indexes` their token indexes in the same order.
    `audio` are the prepared tars CORPUS/BUCKET.tar, for a model that is conditioned on recordings.
    Everything is written to `run_dir`: config.json first, history.jsonl, tensorboard/, checkpoints/, and DONE last.
    `continue_from` names a run beside `run_dir` whose newest weights, optimizer state and average this one starts
    from, at step 0; empty: it starts from initialised weights. `extend_from` names the run beside it that ended after
    training.extend_from steps: this one goes on from there. `init_from` names the run beside it that
    training.init_from names, and `init_digest` is the digest of the weights there. The remaining flags say where the
    processes run and never change the result; memory is per node, runtime in minutes. `upkeep` is a file that holds
    UpkeepConfig as JSON (checkpoints by time, guards, where curves go); it never changes the result either.

    SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 end the current step, save, and leave with exit code 75. With launcher
    submitit, Ctrl-C cancels the SLURM job (it saves first), and a later call finds a job that is still there.
    Raises ValueError when the run cannot start, NonFiniteError when a loss or gradient is not finite.
    """
    from musicgen_core.train.job import TrainJob
    from musicgen_core.train.launch import launch

    init, beside = config.training.init_from, run_dir.absolute().parent
    if init is not None and init.run is not None and not (init_from or continue_from or extend_from):
        raise ValueError(f"training.init_from.run is {init.run}: name its folder beside {run_dir} by --init-from")
    if config.training.extend_from and not (extend_from or continue_from):
        steps = config.training.extend_from[-1]
        raise ValueError(f"training.extend_from ends with {steps}: name the folder of that run by --extend-from")
    job = TrainJob(
        config=config,
        manifests=tuple(path.absolute() for path in manifests),
        indexes=tuple(path.absolute() for path in indexes),
        audio=tuple(path.absolute() for path in audio or ()),
        run_dir=run_dir.absolute(),
        continue_from=beside / continue_from if continue_from else None,
        extend_from=beside / extend_from if extend_from else None,
        init_from=beside / init_from if init_from else None,
        init_digest=init_digest,
        stage_version=STAGES["train"].version,
        num_threads=cpus_per_process,
        upkeep=from_json(UpkeepConfig, upkeep.read_text(encoding="utf-8")) if upkeep else UpkeepConfig(),
    )
    where = LaunchConfig(
        launcher=launcher,
        nodes=nodes,
        processes_per_node=processes_per_node,
        gpus_per_node=gpus_per_node,
        cpus_per_process=cpus_per_process,
        memory_mb=memory_mb,
        runtime_min=runtime_min,
        partition=partition or None,
        account=account or None,
    )
    launch(job, where)
