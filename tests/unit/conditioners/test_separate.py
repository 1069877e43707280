"""Stems before chroma: the adapter, on a stand-in of the package and, where it is installed, on the package itself."""

import importlib.util
import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from musicgen_core import native
from musicgen_core.conditioners import separate
from musicgen_core.conditioners.chroma import ChromaConditioner
from musicgen_core.conditioners.recording import Recording
from musicgen_core.conditioners.separate import DemucsSeparator
from musicgen_core.config.condition import ChromaConditionConfig
from musicgen_core.config.separation import SeparationConfig

SOURCES = ["drums", "bass", "other", "vocals"]


class HTDemucs(torch.nn.Module):
    """Stands in for the package's network: each stem is the mix times a weight."""

    def __init__(self, sources: list[str], samplerate: int = 44100, segment: Any = 10) -> None:
        super().__init__()
        self.sources, self.samplerate, self.audio_channels, self.segment = sources, samplerate, 2, segment
        self.gains = torch.nn.Parameter(torch.ones(len(sources)))


class BagOfModels(torch.nn.Module):
    def __init__(self, models: list[HTDemucs], weights: Any = None, segment: Any = None) -> None:
        super().__init__()
        self.models = torch.nn.ModuleList(models)
        self.sources, self.samplerate, self.audio_channels = models[0].sources, models[0].samplerate, 2


def apply_model(model: Any, mix: torch.Tensor, shifts: int, split: bool, overlap: float, device: str) -> torch.Tensor:
    assert shifts == 0, "a random shift would make chroma another one each time"
    gains_S: torch.Tensor = sum(one.gains for one in model.models) / len(model.models)
    return mix[:, None] * gains_S[None, :, None, None]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in of the package `demucs`."""
    modules = {name: ModuleType(name) for name in ("demucs", "demucs.apply", "demucs.htdemucs")}
    for name, module in modules.items():
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    vars(modules["demucs.apply"]).update(BagOfModels=BagOfModels, apply_model=apply_model)
    vars(modules["demucs.htdemucs"]).update(HTDemucs=HTDemucs)


def write_model(folder: Path, gains: list[float], klass: str = "demucs.htdemucs.HTDemucs", **more: str) -> Path:
    folder.mkdir(exist_ok=True)
    fraction = {"_type": "fraction", "numerator": 39, "denominator": 5}
    about = {"klass": klass, "args": json.dumps([SOURCES]), "kwargs": json.dumps({"segment": fraction}), **more}
    save_file({"gains": torch.tensor(gains)}, folder / "abc.safetensors", metadata=about)
    (folder / "htdemucs.yaml").write_text("models: [abc]\n")
    return folder


def tone(frequency_hz: float, rate_hz: int = 32_000) -> Recording:
    wav_N = np.sin(2 * np.pi * frequency_hz * np.arange(rate_hz) / rate_hz).astype(np.float32)
    return Recording(np.stack([wav_N, 0.5 * wav_N]), rate_hz)


def test_the_wanted_stems_are_summed(package: None, tmp_path: Path) -> None:
    separator = DemucsSeparator(SeparationConfig(path=str(write_model(tmp_path / "model", [8.0, 4.0, 0.5, 0.25]))))
    recording = tone(440)
    found = separator(recording)
    assert found.sample_rate_hz == 44100
    expected = native.resample(native.mix(recording.wav_CN, 1), 32_000, 44100)
    np.testing.assert_allclose(found.wav_CN, np.repeat(0.75 * expected, 2, axis=0), rtol=1e-6)
    only = SeparationConfig(path=str(tmp_path / "model"), stems=("bass",))
    np.testing.assert_allclose(DemucsSeparator(only)(recording).wav_CN, found.wav_CN * (4.0 / 0.75), rtol=1e-6)


def test_chroma_is_of_what_was_kept(package: None, tmp_path: Path) -> None:
    kept = SeparationConfig(path=str(write_model(tmp_path / "model", [0, 0, 1, 0])))
    config = ChromaConditionConfig(kind="chroma", num_frames=8, separate=kept)
    plain = ChromaConditioner(ChromaConditionConfig(kind="chroma", num_frames=8), 4)
    assert torch.equal(ChromaConditioner(config, 4).extract(tone(440)), plain.extract(tone(440)))
    write_model(tmp_path / "model", [1, 1, 0, 0])
    silent = ChromaConditioner(config, 4).extract(tone(440))
    assert torch.equal(silent, torch.eye(12)[:1].expand(len(silent), -1)), "nothing is left of it"


def test_without_the_package_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separate.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"needs the package demucs: pip install 'musicgen-core\[separate\]', or leave"
    ):
        DemucsSeparator(SeparationConfig(path=str(tmp_path)))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("no folder", r"separate\.path: no folder"),
        ("no yaml", r"0 \.yaml files, but a demucs model has one"),
        ("another yaml", r"htdemucs\.yaml: no list `models`"),
        ("no weights", r"abc\.safetensors: absent; htdemucs\.yaml names it"),
        ("damaged", r"abc\.safetensors: damaged"),
        ("another class", r"abc\.safetensors: holds os\.system, not a plain one of demucs\.htdemucs"),
        ("quantised", r"abc\.safetensors: holds .*HTDemucs, not a plain one of"),
        ("another shape", r"abc\.safetensors: its weights do not fit its description"),
        ("another stem", r"separates drums, bass, other, vocals, not choir; change separate\.stems"),
    ],
)
def test_what_is_no_model_is_named(damage: str, message: str, package: None, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_model(folder, [1.0] * 4)
    stems = ("choir",) if damage == "another stem" else ("vocals", "other")
    if damage == "no folder":
        folder = tmp_path / "none"
    elif damage == "no yaml":
        (folder / "htdemucs.yaml").unlink()
    elif damage == "another yaml":
        (folder / "htdemucs.yaml").write_text("name: x\n")
    elif damage == "no weights":
        (folder / "abc.safetensors").unlink()
    elif damage == "damaged":
        (folder / "abc.safetensors").write_bytes(b"no tensors")
    elif damage == "another class":
        write_model(folder, [1.0] * 4, klass="os.system")
    elif damage == "quantised":
        write_model(folder, [1.0] * 4, structure="{}")
    elif damage == "another shape":
        write_model(folder, [1.0] * 3)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        DemucsSeparator(SeparationConfig(path=str(folder), stems=stems))(tone(440))


@pytest.mark.skipif(importlib.util.find_spec("demucs") is None, reason="the optional package demucs is not installed")
@pytest.mark.filterwarnings("ignore")  # of the package
def test_the_package_itself(tmp_path: Path) -> None:
    from demucs.htdemucs import HTDemucs as Real  # type: ignore[import-not-found,unused-ignore]

    torch.manual_seed(0)
    arguments = {"channels": 16, "depth": 4, "t_layers": 1, "t_heads": 2, "bottom_channels": 16}
    network = Real(SOURCES, **arguments).eval()
    about = {"klass": "demucs.htdemucs.HTDemucs", "args": json.dumps([SOURCES]), "kwargs": json.dumps(arguments)}
    save_file(network.state_dict(), tmp_path / "abc.safetensors", metadata=about)
    (tmp_path / "htdemucs.yaml").write_text("models: [abc]\n")
    separator = DemucsSeparator(SeparationConfig(path=str(tmp_path)))
    first, second = separator(tone(440)), separator(tone(440))
    assert first.wav_CN.shape == (2, 44100)
    assert np.isfinite(first.wav_CN).all()
    assert np.abs(first.wav_CN).max() > 0
    assert np.array_equal(first.wav_CN, second.wav_CN)
