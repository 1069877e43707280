"""Reads a checkpoint set of torch.distributed.checkpoint without running anything that is in it.

Two parts of a set are pickles, and torch opens both without limits: `.metadata`, which says which tensor lies where
(`FileSystemReader.read_metadata` in torch/distributed/checkpoint/filesystem.py), and every value that is no tensor,
such as a learning rate (`DefaultLoadPlanner.load_bytes` in default_planner.py). A set may come from somebody else
(training.init_from.path), and its digests say only that it is whole. So the first is read by an unpickler that knows
the classes which a description of tensors is made of and refuses any other, and the second, like tensors, by torch's
weights-only unpickler.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path, PurePosixPath
from types import FunctionType
from typing import Any, ClassVar

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import filesystem, metadata
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import ReadItem

NAME = ".metadata"

PARTS = (
    "BytesStorageMetadata",
    "ChunkStorageMetadata",
    "Metadata",
    "MetadataIndex",
    "StorageMeta",
    "TensorProperties",
    "TensorStorageMetadata",
    "_MEM_FORMAT_ENCODING",
)

ADMITTED: dict[tuple[str, str], Any] = {
    **{("torch.distributed.checkpoint.metadata", name): getattr(metadata, name) for name in PARTS},
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"): filesystem._StorageInfo,
    ("torch", "Size"): torch.Size,
    ("torch.serialization", "_get_layout"): torch.serialization._get_layout,  # a look-up by name
    # where the set was written: a name, of which nobody asks the disk
    **{
        (module, name): PurePosixPath
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "PurePosixPath")
    },
}


class UnsafeError(ValueError):
    """A set that holds more than tensors and plain values, or is no set; the message names file and class."""


class _Reader(dcp.FileSystemReader):
    """Reads the files of one set, whose description has been read."""

    def __init__(self, folder: Path, found: Metadata) -> None:
        super().__init__(folder)
        self._found = found

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        return self._found


class _Planner(dcp.DefaultLoadPlanner):
    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """What torch's own reader gets was written here, from plain values."""
        plain = io.BytesIO()
        try:
            torch.save(torch.load(value, weights_only=True), plain)
        except pickle.UnpicklingError as error:
            reason = str(error).strip().splitlines()[0]
            raise UnsafeError(f"{read_item.storage_index.fqn} is no plain value ({reason[:200]})") from None
        plain.seek(0)
        super().load_bytes(read_item, plain)


_Base: Any = pickle._Unpickler
"""The one in Python: the one in C cannot be told what not to build."""


class _Unpickler(_Base):
    dispatch: ClassVar[dict[int, Any]] = dict(_Base.dispatch)

    def load_build(self) -> None:
        """Set the state of an object: of one that this stream made, never of a class or function of the process."""
        if isinstance(made := self.stack[-2], (type, FunctionType, Enum)):
            raise UnsafeError(f"it changes {getattr(made, '__name__', made)}, which a description never needs")
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ADMITTED:
            return ADMITTED[module, name]
        if module == "torch" and isinstance(found := getattr(torch, name, None), torch.dtype):
            return found
        raise UnsafeError(f"it names {module}.{name}, which a description of tensors does not need")


def read_metadata(path: Path) -> Metadata:
    """Where each tensor of a set lies. Raises UnsafeError for any class but those of ADMITTED; nothing is run then."""
    try:
        with open(path, "rb") as file:
            found = _Unpickler(file).load()
        if not isinstance(found, Metadata):
            raise UnsafeError(f"it holds a {type(found).__name__}, not the metadata of a checkpoint")
        for info in (found.storage_data or {}).values():
            if PurePosixPath(info.relative_path).name != info.relative_path or info.relative_path in ("", ".."):
                raise UnsafeError(f"it points to {info.relative_path}, outside of its set")
    except UnsafeError as error:
        raise UnsafeError(
            f"{path}: {error}; nothing of it was run. Take the set from whoever trained it again, or its export "
            "(safetensors)"
        ) from None
    except OSError:
        raise
    except Exception as error:  # a stream of anything may end in any of them
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UnsafeError(f"{path}: not the metadata of a checkpoint ({reason[:200]}); copy it again") from None
    return found


def check_metadata(folder: Path) -> None:
    """Raise UnsafeError when the description of this set holds more than it needs."""
    read_metadata(folder / NAME)


def load_set(state: dict[str, Any], folder: Path, *, alone: bool) -> None:
    """Fill the tensors and values of `state` in place, each with what the set holds under its name.

    Collective unless `alone`. Raises UnsafeError naming what is neither a tensor nor a plain value.
    """
    reader = _Reader(folder, read_metadata(folder / NAME))
    try:
        with one_process_is_meant():
            dcp.load(state, storage_reader=reader, planner=_Planner(), no_dist=alone)
    except CheckpointException as error:
        unsafe = [one for one, _ in error.failures.values() if isinstance(one, UnsafeError)]
        if unsafe:
            raise UnsafeError(f"{folder}: {unsafe[0]}; nothing of it was run") from None
        raise


@contextmanager
def one_process_is_meant() -> Iterator[None]:
    """torch warns about a missing process group even when told `no_dist`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
        yield
