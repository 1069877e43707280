"""Files of others are read, never run."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from musicgen_core.layouts.audiocraft_files import read_package
from musicgen_core.layouts.unpickle import load_untrusted, plain


class Payload:
    """What an attacker writes: loading it the ordinary way creates the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_instructions_in_a_file_are_refused_by_name(tmp_path: Path) -> None:
    torch.save({"best_state": {}, "xp.cfg": Payload(tmp_path / "ran")}, tmp_path / "state_dict.bin")
    with pytest.raises(ValueError, match=r"state_dict\.bin: holds more than weights .*nothing of it was run"):
        load_untrusted(tmp_path / "state_dict.bin")
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "state_dict.bin", weights_only=False)
    assert (tmp_path / "ran").exists(), "the payload would have worked"


@pytest.fixture
def omegaconf(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Classes that pickle as omegaconf's do, under its names, and only while the file is written."""

    def make(module_name: str, class_name: str) -> Any:
        made = type(class_name, (), {"__module__": module_name})
        module = types.ModuleType(module_name)
        setattr(module, class_name, made)
        monkeypatch.setitem(sys.modules, module_name, module)
        return made

    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
    node, mapping = make("omegaconf.nodes", "AnyNode"), make("omegaconf.dictconfig", "DictConfig")
    sequence = make("omegaconf.listconfig", "ListConfig")

    def build(value: Any) -> Any:
        kind = {dict: mapping, list: sequence}.get(type(value), node)
        built = kind()
        if isinstance(value, dict):
            built.__dict__ |= {"_metadata": None, "_content": {key: build(item) for key, item in value.items()}}
        elif isinstance(value, list):
            built.__dict__ |= {"_metadata": None, "_content": [build(item) for item in value]}
        else:
            built.__dict__ |= {"_metadata": None, "_val": value}
        return built

    return build


def test_a_training_checkpoint_of_audiocraft_is_read(tmp_path: Path, omegaconf: Any, monkeypatch: Any) -> None:
    config = {"sample_rate": 32_000, "encodec": {"sample_rate": "${sample_rate}"}, "delays": [0, 1, None, True, 0.5]}
    weight = torch.arange(4, dtype=torch.float16)
    path = tmp_path / "checkpoint.th"
    torch.save({"xp.cfg": omegaconf(config), "best_state": {"model": {"emb.0.weight": weight}}, "history": []}, path)
    for name in [name for name in sys.modules if name.startswith("omegaconf")]:
        monkeypatch.delitem(sys.modules, name)
    assert plain(load_untrusted(path)["xp.cfg"]) == config
    found, state = read_package(path)
    assert found == {**config, "encodec": {"sample_rate": 32_000}}
    assert torch.equal(state["emb.0.weight"], weight)


def test_sharded_best_weights_win(tmp_path: Path) -> None:
    best = {"model": {"w": torch.ones(2)}}
    package = {"xp.cfg": "a: 1", "best_state": {"model": {"w": torch.zeros(1)}}, "fsdp_best_state": best}
    torch.save(package, tmp_path / "checkpoint.th")
    assert torch.equal(read_package(tmp_path / "checkpoint.th")[1]["w"], torch.ones(2))


@pytest.mark.parametrize("num_bytes", [0, 3, 200, -30])
def test_torn_files_are_named(num_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "state_dict.bin"
    torch.save({"xp.cfg": "a: 1", "best_state": {"w": torch.zeros(100)}}, path)
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(ValueError, match=r"state_dict\.bin: "):
        load_untrusted(path)


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ([1, 2], "no `xp.cfg` in it"),
        ({"xp.cfg": "a: 1", "best_state": {}}, "its best_state holds no weights"),
        ({"xp.cfg": "a: [1", "best_state": {"w": torch.zeros(1)}}, "its xp.cfg is not YAML"),
        ({"xp.cfg": "just words", "best_state": {"w": torch.zeros(1)}}, "its xp.cfg is no mapping"),
    ],
)
def test_other_files_are_named(package: Any, message: str, tmp_path: Path) -> None:
    torch.save(package, tmp_path / "file.bin")
    with pytest.raises(ValueError, match=f"file.bin: {message}"):
        read_package(tmp_path / "file.bin")
    with pytest.raises(FileNotFoundError, match=r"absent\.bin: absent"):
        read_package(tmp_path / "absent.bin")
