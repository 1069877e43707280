"""A set from somewhere else is read, and nothing that is in it is run."""

import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from token_corpus import tiny_config

from musicgen_core import native
from musicgen_core.config.start import InitFromConfig
from musicgen_core.train.checkpoint import MANIFEST, read_manifest, read_tensors
from musicgen_core.train.ranks import Refused
from musicgen_core.train.set_reader import NAME, UnsafeError, read_metadata
from musicgen_core.util.digest import digest_json

Train = Callable[..., list[dict[str, Any]]]


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


def seal(folder: Path) -> None:
    """Write the manifest anew, as somebody does who gives a set away on purpose."""
    manifest = json.loads((folder / MANIFEST).read_text())["manifest"]
    for name in manifest["files"]:
        path = folder / name
        manifest["files"][name] = {"num_bytes": path.stat().st_size, "digest": native.hash_files([path])[0][0]}
    (folder / MANIFEST).write_text(json.dumps({"manifest": manifest, "digest": digest_json(manifest)}))
    read_manifest(folder)


def find_set(run_dir: Path, kind: str) -> Path:
    return next((run_dir / "checkpoints").glob(f"{kind}-*"))


@pytest.mark.parametrize("what", ["", "checkpoints/best-00000002", "checkpoints/step-00000002"])
def test_instructions_in_a_set_that_a_run_starts_from_are_refused_by_name(
    what: str, tmp_path: Path, train: Train
) -> None:
    train(tmp_path / "old", tiny_config(steps=2, validate_every_steps=2))
    for kind in ("best", "step"):
        (find_set(tmp_path / "old", kind) / NAME).write_bytes(pickle.dumps(Touch(tmp_path / "ran")))
        seal(find_set(tmp_path / "old", kind))
    init = InitFromConfig(path=str(tmp_path / "old" / what))
    with pytest.raises(Refused, match=r"/\.metadata: it names pathlib\S*\.Path\.touch, .* nothing of it was run"):
        train(tmp_path / "new", tiny_config(steps=2, init_from=init))
    assert not (tmp_path / "ran").exists()


def test_our_own_resume_refuses_them_too(tmp_path: Path, train: Train) -> None:
    config = tiny_config(steps=2, checkpoint_every_steps=1)
    train(tmp_path / "run", config)
    (tmp_path / "run/DONE").unlink()
    newest = tmp_path / "run/checkpoints/step-00000002"
    (newest / NAME).write_bytes(pickle.dumps(Touch(tmp_path / "ran")))
    seal(newest)
    with pytest.raises(Refused, match="nothing of it was run"):
        train(tmp_path / "run", config)
    assert not (tmp_path / "ran").exists()


def test_a_value_that_is_no_plain_one_is_refused(tmp_path: Path, train: Train) -> None:
    """The learning rate of the optimizer, in the set's data file, which torch unpickles without limits."""
    config = tiny_config(steps=2, checkpoint_every_steps=1)
    train(tmp_path / "run", config)
    (tmp_path / "run/DONE").unlink()
    newest = tmp_path / "run/checkpoints/step-00000002"
    found = read_metadata(newest / NAME)
    place = next(info for index, info in found.storage_data.items() if index.fqn == "optimizer.param_groups.0.lr")
    data = newest / place.relative_path
    evil = io.BytesIO()
    torch.save(Touch(tmp_path / "ran"), evil)
    place.offset, place.length = data.stat().st_size, len(evil.getvalue())
    with open(data, "ab") as file:
        file.write(evil.getvalue())
    with open(newest / NAME, "wb") as file:
        pickle.dump(found, file)
    seal(newest)
    with pytest.raises(Refused, match=r"step-00000002: optimizer\.param_groups\.0\.lr is no plain value"):
        train(tmp_path / "run", config)
    assert not (tmp_path / "ran").exists()


class Other:
    """A class that a set does not need."""


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (pickle.dumps(Other()), r"it names test_set_reader\.Other"),
        (pickle.dumps(print), r"it names (builtins|__builtin__)\.print"),
        (b"\x80\x04\x8c\x05torch\x8c\x04load\x93.", r"it names torch\.load"),
        (b"\x80\x04\x8c\x05torch\x8c\x0cSize.__new__\x93.", r"it names torch\.Size\.__new__"),
        (pickle.dumps({}), "it holds a dict"),
        (b"", "not the metadata of a checkpoint"),
        (b"\x80\x04\x95", "not the metadata of a checkpoint"),
        (b"not a pickle", "not the metadata of a checkpoint"),
    ],
)
def test_any_other_description_is_refused(content: bytes, line: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UnsafeError, match=rf"\.metadata: {line}"):
        read_metadata(tmp_path / NAME)


def test_a_description_that_points_out_of_its_set_is_refused(undisturbed: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(find_set(undisturbed, "best"), tmp_path / "best"))
    found = read_metadata(folder / NAME)
    next(iter(found.storage_data.values())).relative_path = "../../secret"
    (folder / NAME).write_bytes(pickle.dumps(found))
    with pytest.raises(UnsafeError, match=r"points to \.\./\.\./secret, outside of its set"):
        read_tensors(folder)


@pytest.mark.parametrize(
    "named", [b"cpathlib\nPurePosixPath\n", b"ctorch.serialization\n_get_layout\n"], ids=["class", "function"]
)
def test_a_description_changes_nothing_of_the_process(named: bytes, undisturbed: Path, tmp_path: Path) -> None:
    """A state may be set on what a stream made, not on what it names: that is the process's own."""
    path = Path(shutil.copytree(find_set(undisturbed, "best"), tmp_path / "best")) / NAME
    prefix = b"\x80\x02" + named + b"N}X\x04\x00\x00\x00nameX\x07\x00\x00\x00../evils\x86b0"
    path.write_bytes(prefix + pickle.dumps(read_metadata(path), protocol=2)[2:])
    with pytest.raises(UnsafeError, match=r"it changes (PurePosixPath|_get_layout), .* nothing of it was run"):
        read_metadata(path)
    assert (Path("/a/b").name, Path("/a/b").parent.name) == ("b", "a")
    assert not hasattr(torch.serialization._get_layout, "name")


def test_what_torch_reads_is_read(undisturbed: Path) -> None:
    """Differential: the description of every set, by pickle itself."""
    for kind in ("best", "step"):
        path = find_set(undisturbed, kind) / NAME
        theirs, ours = pickle.loads(path.read_bytes()), read_metadata(path)
        assert (ours.state_dict_metadata, ours.storage_data) == (theirs.state_dict_metadata, theirs.storage_data)
        assert ours.planner_data == theirs.planner_data
