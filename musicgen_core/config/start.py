"""What a run starts from: random weights, another model's weights, or a run that it makes longer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from musicgen_core.config.plain import added

if TYPE_CHECKING:
    from musicgen_core.config.root import RunConfig

KEY = "training.init_from"


@dataclass(frozen=True, kw_only=True)
class InitFromConfig:
    """Weights that a run starts from instead of random ones: those of another `run`, or at a `path`. The optimizer, the
    average, the steps and the data begin anew."""

    run: str | None = None
    """Another run of this config, which is trained first. Its best averaged weights are taken."""

    path: str | None = None
    """The folder of a run, of one of its checkpoints, of an export, of AudioCraft's or transformers' MusicGen; a file
    of AudioCraft's; or, with a revision, a hub id that `musicgen fetch` brings."""

    revision: str | None = None
    """Commit hash of a hub id."""

    accept_noncommercial: bool = False
    """Required for weights under a non-commercial licence, as MusicGen's released ones; the export's card says so."""

    accept_pickle: bool = field(default=False, metadata=added(before=False))
    """Required for weights in a pickle: AudioCraft's state_dict.bin, transformers' pytorch_model.bin. torch's
    weights-only unpickler reads it and runs nothing."""

    skip: tuple[str, ...] = ()
    """Shell patterns of parameter names that keep their random weights, such as `condition_provider.*`; of any other
    parameter the source must have weights of the same shape."""

    mono_to_stereo: bool | Literal["copy"] = False
    """The source is a mono model, this one a stereo model of twice its codebooks: heads and embeddings are doubled, and
    embeddings halved, so that left = right gives the mono model's logits. `copy`: embeddings as they are, AudioCraft's
    recipe (its docs/MUSICGEN.md)."""


def check_start(runs: Mapping[str, RunConfig]) -> None:
    """Raise ValueError, one line that begins with the key, for runs that cannot start from what they name."""
    for name, run in runs.items():
        where, init, ended = f"runs.{name}.{KEY}", run.training.init_from, run.training.extend_from
        if list(ended) != sorted(set(ended)) or (ended and not 0 < ended[0] <= ended[-1] < run.training.steps):
            raise ValueError(
                f"runs.{name}.training.extend_from: {list(ended)} must ascend, from above 0 to below training.steps "
                f"{run.training.steps}"
            )
        if init is None:
            continue
        if (init.run is None) == (init.path is None):
            raise ValueError(f"{where}: name either a run or a path, and not both")
        if init.revision is not None and init.path is None:
            raise ValueError(f"{where}.revision: belongs to a hub id, but there is no path")
        chain = [name]
        while init is not None and init.run is not None:
            if init.run not in runs:
                raise ValueError(f"{where}.run: there is no run `{init.run}`; runs are {', '.join(runs)}")
            chain.append(init.run)
            if init.run in chain[:-1]:
                raise ValueError(f"{where}.run: the runs {' -> '.join(chain)} start from each other")
            init = runs[init.run].training.init_from
