"""The first weights of a run, where they are those of another model."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from musicgen_core.config.pickles import require_pickle
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.config.source import find_source
from musicgen_core.config.start import KEY, InitFromConfig
from musicgen_core.config.store import asset_name, is_noncommercial, read_license, read_lock, require_commercial
from musicgen_core.layouts.source import Source, read_parts, read_source
from musicgen_core.lm.model import LanguageModel, resolve_model
from musicgen_core.train.checkpoint import load_best_weights, read_manifest, read_tensors
from musicgen_core.train.ranks import Refused, World
from musicgen_core.util.fit import check_finite, check_fit
from musicgen_core.util.log import say

WORDS = "condition_provider.conditioners.description.output_proj.weight"
"""A parameter that every conditioner of words has."""


def load_initial(config: TrainStageConfig, run: Path | None, world: World, model: LanguageModel) -> None:
    """Fill the weights of a model, sharded or whole, from what `init_from` names; says what was done. Collective.

    `run` is the folder of the run that it names, if it names one. Refused names every weight and key that do not fit.
    """
    init = config.training.init_from
    assert init is not None
    box: dict[str, Mapping[str, Tensor]] = {}

    def read() -> list[str]:
        folder = run if run is not None else find_source(init)
        state, notes = read_initial(config, init, folder, model)
        box["state"] = state
        for note in notes:
            say(f"train: note: {note}")
        num = sum(tensor.numel() for tensor in state.values())
        skipped = sorted(set(model.state_dict()) - set(state))
        left = f"; {', '.join(skipped)} keep their random ones ({KEY}.skip)" if skipped else ""
        say(
            f"train: starts from the weights of {init.path or folder.name}: {len(state)} tensors, {num:,} weights, "
            f"none missing, unexpected or of another shape{left}; optimizer, average, steps and data begin anew"
        )
        return list(state)

    state = model.state_dict()
    for name in world.on_first(read):
        _fill(state[name], box["state"][name] if world.first else None, world)


def describe_initial(
    init: InitFromConfig | None, run: Path | None, digest: str, parent: Path | None
) -> dict[str, Any] | None:
    """What a run's config.json and the export's card say of its start; of a run that goes on, what its parent says.

    Raises Refused for a licence that was not accepted.
    """
    if parent is not None:
        return json.loads((parent / "config.json").read_text(encoding="utf-8")).get("init_from")
    if init is None:
        return None
    license_name = _find_license(init, run)
    name = init.path if init.path is not None else run.name if run is not None else ""
    if init.path is not None:
        try:
            require_commercial(license_name, name, init.accept_noncommercial, f"{KEY}.accept_noncommercial")
        except ValueError as error:
            raise Refused(str(error)) from None
    return {"source": name, "revision": init.revision, "digest": digest, "license": license_name}


def read_initial(
    config: TrainStageConfig, init: InitFromConfig, folder: Path, model: LanguageModel
) -> tuple[dict[str, Tensor], list[str]]:
    """-> (weights in our names, without those skipped, notes). Refused names every key or weight that does not fit."""
    try:
        source = _read(folder, init.accept_pickle)
        state = dict(source.state)
        if init.mono_to_stereo:
            state = to_stereo(state, halve=init.mono_to_stereo != "copy")
        skipped = [name for name in {**model.state_dict(), **state} if _skips(init, name)]
        if unused := [p for p in init.skip if not any(fnmatch.fnmatchcase(name, p) for name in skipped)]:
            raise ValueError(f"{KEY}.skip: `{unused[0]}` matches no parameter of this model nor of {folder}")
        notes = _compare(config, init, folder, source, model)
        state = {name: tensor for name, tensor in state.items() if name not in skipped}
        check_fit({n: t for n, t in model.state_dict().items() if n not in skipped}, state, str(folder))
        check_finite(state, str(folder))
    except (ValueError, OSError) as error:
        raise error if isinstance(error, Refused) else Refused(str(error)) from None
    return state, notes


def to_stereo(state: Mapping[str, Tensor], halve: bool) -> dict[str, Tensor]:
    """A mono model's weights for left and right in turn, as config/codec_channels.py orders their codebooks.

    Heads and embeddings are doubled. `halve`: embeddings are also halved, so that the sum over codebooks, and with it
    every logit, is the mono model's where left equals right. Without it, it is AudioCraft's recipe (docs/MUSICGEN.md in
    facebookresearch/audiocraft, "Fine tuning mono model to stereo"): that sum is twice as large beside the positions.
    """
    doubled = {}
    for name, tensor in state.items():
        part = re.fullmatch(r"(emb|linears)\.(\d+)\.(.*)", name)
        if part is None:
            doubled[name] = tensor
            continue
        for channel in range(2):
            value = tensor / 2 if halve and part[1] == "emb" else tensor
            doubled[f"{part[1]}.{2 * int(part[2]) + channel}.{part[3]}"] = value
    return doubled


def _read(folder: Path, accept_pickle: bool) -> Source:
    """Of a run, a checkpoint, or another layout."""
    if folder.is_dir() and (folder / "manifest.json").is_file():
        read_manifest(folder)
        tensors = read_tensors(folder)
        state = {name.removeprefix("ema."): tensor for name, tensor in tensors.items() if name.startswith("ema.")}
        return Source(state=state, **read_parts(folder.parent.parent / "config.json"))
    if (folder / "checkpoints").is_dir():
        return Source(state=load_best_weights(folder)[0], **read_parts(folder / "config.json"))
    require_pickle(folder, accept_pickle, f"{KEY}.accept_pickle")
    return read_source(folder)


def _compare(
    config: TrainStageConfig, init: InitFromConfig, folder: Path, source: Source, model: LanguageModel
) -> list[str]:
    """Raise ValueError naming every key that must agree and does not; -> notes about those that may differ."""
    ours, theirs, codec = model.config, source.model, source.codec
    if codec is not None:
        theirs = resolve_model(theirs, codec)
    factor = 2 if init.mono_to_stereo else 1
    pairs: dict[str, tuple[Any, Any]] = {
        "model.dim": (ours.shape[0], theirs.shape[0]),
        "model.num_heads": (ours.shape[1], theirs.shape[1]),
        "model.num_layers": (ours.shape[2], theirs.shape[2]),
        "model.num_codebooks": (ours.num_codebooks, theirs.num_codebooks and theirs.num_codebooks * factor),
        "model.card": (ours.card, theirs.card),
    }
    if not _skips(init, WORDS):
        pairs["conditioner.kind"] = (config.conditioner.kind, source.conditioner.kind)
        pairs["conditioner.fusion"] = (config.conditioner.fusion, source.conditioner.fusion)
    wrong = [f"{key} is {mine}, there {other}" for key, (mine, other) in pairs.items() if other not in (None, mine)]
    if wrong:
        raise ValueError(
            f"{KEY}: the model of {folder} is another one: {'; '.join(wrong)}. Set these keys to the source's values, "
            "or start from a model like this one"
        )
    if codec is not None and not init.mono_to_stereo and codec.digest != config.codec.digest:
        where = f"; a copy is in {source.codec_folder}, for codec.path" if source.codec_folder else ""
        raise ValueError(
            f"{KEY}: {folder} was trained on the codes of {codec.name} (digest {codec.digest[:8]}), this run's codec "
            f"is {config.codec.name} ({config.codec.digest[:8]}): another codec's codes are noise to it. Use that "
            f"codec{where}"
        )
    notes = []
    if not init.mono_to_stereo and theirs.pattern != ours.pattern:
        notes.append(f"its pattern was {theirs.pattern}, this run's is {ours.pattern}")
    if theirs.mask_condition_padding != ours.mask_condition_padding:
        now = str(theirs.mask_condition_padding).lower()
        notes.append(f"it was trained with model.mask_condition_padding: {now}; set it so to see words as it did")
    return notes


def _skips(init: InitFromConfig, name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in init.skip)


def _find_license(init: InitFromConfig, run: Path | None) -> str | None:
    """Of the weights, as far as files say; those of released models are known by name."""
    if init.revision is not None:
        assert init.path is not None
        stated = read_lock().get(asset_name(init.path, init.revision), {}).get("license")
        return stated or ("CC-BY-NC-4.0" if is_noncommercial(None, init.path) else None)
    folder = run if run is not None else find_source(init)
    folder = folder.parent if folder.is_file() else folder
    for path in (folder / "config.json", folder.parent.parent / "config.json"):
        try:
            info = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        start = info.get("init_from") or {}
        if found := info.get("weights_license") or start.get("license"):
            return found
        if path.parent == folder and is_noncommercial(None, str(info.get("_name_or_path", ""))):
            return read_license(folder) or "CC-BY-NC-4.0"
    return read_license(folder)


@torch.no_grad()
def _fill(target: Tensor, value: Tensor | None, world: World) -> None:
    """Copy a whole tensor, which the first process holds, into one that may be sharded."""
    if isinstance(target, DTensor):
        whole = torch.empty(target.shape) if value is None else value.to(target.dtype)
        placed = distribute_tensor(whole.to(world.device), target.device_mesh, target.placements)
        target.to_local().copy_(placed.to_local())
        return
    if value is not None:
        target.copy_(value)
    if world.size > 1:
        dist.broadcast(target, src=0)
