"""Checkpoints: sets of files that are either complete and unaltered, or not used.

    checkpoints/step-00000100/    model, optimizer and average, by torch.distributed.checkpoint, which can cut them anew
                                  for another number of processes
    checkpoints/best-00000100/    the average that validated best
    .../manifest.json             written last: step, data position, and the size and digest of every file

A set is written beside training (writer.py) under a name that starts with a dot, forced to disk, and renamed when it
is complete on all processes.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

from musicgen_core import native
from musicgen_core.train.ema import Ema
from musicgen_core.train.ranks import Refused, World
from musicgen_core.train.set_reader import NAME as METADATA
from musicgen_core.train.set_reader import UnsafeError, check_metadata, load_set, one_process_is_meant, read_metadata
from musicgen_core.train.writer import BackgroundWriter
from musicgen_core.util.atomic import write_json
from musicgen_core.util.digest import digest_file, digest_json
from musicgen_core.util.log import say

FORMAT = 1
MANIFEST = "manifest.json"


class TornError(ValueError):
    """A set that is incomplete or altered."""


@dataclass(frozen=True)
class Best:
    """The best validation so far."""

    step: int
    loss: float


class Checkpoints:
    """The sets of one run directory. Every method is called by all processes together."""

    def __init__(self, run_dir: Path, world: World, keep_last: int, keep_every: int | None = None) -> None:
        self.folder = run_dir / "checkpoints"
        self.world = world
        self.keep_last, self.keep_every = max(1, keep_last), keep_every
        self.writer = BackgroundWriter(world)
        if world.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            for rest in self.folder.glob(".*"):
                shutil.rmtree(rest)

    def save(
        self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema, extra: dict[str, Any]
    ) -> None:
        """Save everything that training needs, beside training; then drop sets beyond the newest `keep_last`, but none
        at a multiple of `keep_every` steps.

        `extra` is JSON: the position in the data and whatever else is small. Raises OSError when the set before could
        not be written; of this one, `writer.check` and `writer.finish` say so.
        """
        state = {"model": model.state_dict(), "optimizer": get_optimizer_state_dict(model, optimizer)}
        state["ema"] = ema.state_dict()
        manifest = {"step": step, "ema_count": ema.count, **extra}

        def write(copy: dict[str, Any], world: World) -> None:
            self._write(f"step-{step:08d}", copy, manifest, world)
            if world.first:
                for old in self._sets("step")[self.keep_last :] + self._sets("rejected"):
                    if not self._is_kept(old):
                        shutil.rmtree(old)

        self.writer.submit("step", state, write)

    def save_best(self, step: int, loss: float, ema: Ema) -> Best:
        """Save the averaged weights as the best ones and drop the former best."""

        def write(copy: dict[str, Any], world: World) -> None:
            self._write(f"best-{step:08d}", copy, {"step": step, "loss": loss}, world)
            if world.first:
                for old in self._sets("best"):
                    if old.name != f"best-{step:08d}":
                        shutil.rmtree(old)

        self.writer.submit("best", {"ema": ema.state_dict()}, write)
        return Best(step, loss)

    def load_newest(self, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema) -> dict[str, Any] | None:
        """Load the newest sound set in place; None when there is none.

        Returns its manifest. A torn or altered set is put aside with a line that says so, and the one before is used.
        """
        found = self.world.on_first(lambda: self._newest_sound("step"))
        if found is None:
            return None
        folder, manifest = found
        self._agree(folder)
        _load(folder, self.world, model, optimizer, ema)
        ema.count = manifest["ema_count"]
        return manifest

    def _agree(self, folder: Path) -> None:
        """Raise Refused, on all processes, when one does not find the set that the first one found."""
        path = folder / MANIFEST
        found = self.world.gather(digest_file(path) if path.is_file() else f"nothing on {socket.gethostname()}")
        others = [f"process {rank} finds {what}" for rank, what in enumerate(found) if what != found[0]]
        if others:
            raise Refused(
                f"the processes do not see the same {path}: {'; '.join(others)}; put the results on a file system that "
                "all machines share"
            )

    def find_best(self) -> Best | None:
        """The best validation on disk; it outlives any number of restarts."""
        found = self.world.on_first(lambda: self._newest_sound("best"))
        return Best(found[1]["step"], found[1]["loss"]) if found else None

    def _is_kept(self, folder: Path) -> bool:
        step = folder.name.removeprefix("step-")
        return self.keep_every is not None and step.isdecimal() and int(step) % self.keep_every == 0

    def _write(self, name: str, state: dict[str, Any], manifest: dict[str, Any], world: World) -> None:
        """In the writer's thread."""
        temporary, final = self.folder / f".{name}", self.folder / name
        world.on_first(lambda: shutil.rmtree(temporary, ignore_errors=True))
        writer = dcp.FileSystemWriter(temporary, sync_files=True)
        try:
            with one_process_is_meant():
                dcp.save(state, storage_writer=writer, process_group=world.group, no_dist=world.size == 1)
        except (CheckpointException, RuntimeError, OSError) as error:
            free = shutil.disk_usage(self.folder).free / 2**20
            reason = str(error).strip().splitlines()[-1]
            raise OSError(
                f"{final}: the checkpoint could not be written, {free:.0f} MiB are free on that disk ({reason}); free "
                "space and run the same command again: it resumes at the checkpoint before this one"
            ) from None
        world.barrier()
        world.on_first(lambda: _complete(temporary, final, manifest))

    def _sets(self, kind: str) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob(f"{kind}-*"), reverse=True)

    def _newest_sound(self, kind: str) -> tuple[Path, dict[str, Any]] | None:
        for folder in self._sets(kind):
            try:
                return folder, read_manifest(folder)
            except TornError as error:
                say(f"train: checkpoint {folder.name} is put aside: {error}; the one before it is used")
                aside = folder.with_name(f"rejected-{folder.name}")
                shutil.rmtree(aside, ignore_errors=True)
                folder.rename(aside)
        return None


def read_manifest(folder: Path) -> dict[str, Any]:
    """Check a set file by file and return its manifest. Raises TornError that names the file and what is wrong."""
    try:
        stored = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        manifest = stored["manifest"]
        if stored["digest"] != digest_json(manifest):
            raise TornError(f"{MANIFEST} was altered")
    except (OSError, json.JSONDecodeError, KeyError, UnicodeDecodeError):
        raise TornError(f"{MANIFEST} is missing or torn") from None
    if manifest["format"] != FORMAT:
        raise TornError(f"format {manifest['format']}, this program reads {FORMAT}")
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise TornError(f"{name} is missing")
        if path.stat().st_size != expected["num_bytes"]:
            raise TornError(f"{name} has {path.stat().st_size} bytes, {expected['num_bytes']} were written")
    paths = [folder / name for name in manifest["files"]]
    for path, (digest, error) in zip(paths, native.hash_files(paths), strict=True):
        if digest != manifest["files"][path.name]["digest"]:
            raise TornError(f"{path.name} was altered" if error is None else error)
    return manifest


def load_start(run_dir: Path, world: World, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema) -> str:
    """Load the newest sound set of another run in place, and change nothing there. A collective call.

    -> which set it is, in words. Raises Refused when there is none.
    """

    def find() -> tuple[Path, dict[str, Any]]:
        for folder in sorted((run_dir / "checkpoints").glob("step-*"), reverse=True):
            try:
                return folder, read_manifest(folder)
            except TornError as error:
                say(f"train: {folder} is not used: {error}")
        raise Refused(
            f"{run_dir}/checkpoints holds no sound checkpoint to continue from; set on_changed_data: restart, or bring "
            "it back"
        )

    folder, manifest = world.on_first(find)
    _load(folder, world, model, optimizer, ema)
    ema.count = manifest["ema_count"]
    return f"step {manifest['step']}"


def _load(folder: Path, world: World, model: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema) -> None:
    state = {"model": model.state_dict(), "optimizer": get_optimizer_state_dict(model, optimizer)}
    state["ema"] = ema.state_dict()
    try:
        world.on_first(lambda: check_metadata(folder))  # refused once
        load_set(state, folder, alone=world.size == 1)
    except UnsafeError as error:
        raise Refused(str(error)) from None
    set_optimizer_state_dict(model, optimizer, state["optimizer"])


def load_best_weights(run_dir: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The averaged weights that validated best, whole and in fp32, on the CPU; needs no process group and no model.

    -> (tensors by parameter name, {"step", "loss"}). Raises FileNotFoundError when there is no best checkpoint, and
    ValueError when it is torn or altered.
    """
    folders = sorted((run_dir / "checkpoints").glob("best-*"), reverse=True)
    if not folders:
        raise FileNotFoundError(f"{run_dir}/checkpoints holds no best checkpoint; train the run first")
    try:
        manifest = read_manifest(folders[0])
    except TornError as error:
        raise ValueError(f"{folders[0]}: {error}; train the run again") from None
    weights = {name.removeprefix("ema."): tensor for name, tensor in read_tensors(folders[0]).items()}
    return weights, {"step": manifest["step"], "loss": manifest["loss"]}


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a set, whole, on the CPU, by their full names such as `ema.out_norm.weight`.

    Raises UnsafeError, a ValueError, for a set that holds more than tensors and plain values; nothing of it is run.
    """
    known = read_metadata(folder / METADATA).state_dict_metadata
    tensors = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in known.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    load_set(tensors, folder, alone=True)
    return tensors


def _complete(temporary: Path, final: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a set whose files are on disk, and give the set its name."""
    paths = sorted(path for path in temporary.iterdir() if path.is_file())
    files = {}
    for path, (digest, error) in zip(paths, native.hash_files(paths), strict=True):
        if digest is None:
            raise OSError(f"{path}: {error}")
        files[path.name] = {"num_bytes": path.stat().st_size, "digest": digest}
    manifest = {"format": FORMAT, "files": files, **manifest}
    write_json(temporary / MANIFEST, {"manifest": manifest, "digest": digest_json(manifest)})
    if final.exists():
        shutil.rmtree(final)
    os.replace(temporary, final)
    _flush(final.parent)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
