"""CLAP: one vector for audio or text, quantised; the same model as transformers'."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_clap import write_clap
from small_models import CODEC, CONDITIONER, MODEL, random_sequence

from musicgen_core.conditioners.clap import ClapConditioner
from musicgen_core.conditioners.recording import Recording
from musicgen_core.config.condition import ClapConditionConfig
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers' modules


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clap(tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="module")
def conditioner(folder: Path) -> ClapConditioner:
    return ClapConditioner(ClapConditionConfig(kind="clap", path=str(folder), num_levels=2, num_entries=8), 6)


def noise(num_samples: int, seed: int, num_channels: int = 1, rate_hz: int = 16000) -> Recording:
    random = np.random.default_rng(seed)
    return Recording(random.normal(0, 0.1 * (1 + seed), (num_channels, num_samples)).astype(np.float32), rate_hz)


@torch.no_grad()
def test_audio_is_the_mean_over_windows(folder: Path, conditioner: ClapConditioner) -> None:
    """Against transformers, window by window."""
    from transformers import ClapFeatureExtractor, ClapModel

    model, extractor = ClapModel.from_pretrained(folder).eval(), ClapFeatureExtractor.from_pretrained(folder)
    conditioner.config = replace(conditioner.config, stride_sec=0.5)
    recording = noise(36000, 1)
    expected = torch.zeros(16)
    for start in (0, 8000, 16000):
        inputs = extractor(recording.wav_CN[0, start : start + 16000], sampling_rate=16000, return_tensors="pt")
        expected += model.get_audio_features(input_features=inputs["input_features"]).pooler_output[0] / 3
    found = conditioner.take(recording)
    torch.testing.assert_close(found, expected / expected.norm(), atol=1e-5, rtol=1e-4)
    assert found.norm() == pytest.approx(1)


def test_padding_channels_and_rate_are_taken_care_of(conditioner: ClapConditioner) -> None:
    whole = noise(20000, 2)
    padded = Recording(np.pad(whole.wav_CN, ((0, 0), (0, 9000))), 16000, num_valid=20000)
    assert torch.equal(conditioner.take(padded), conditioner.take(whole))
    stereo = Recording(np.repeat(whole.wav_CN, 2, axis=0), 16000)
    torch.testing.assert_close(conditioner.take(stereo), conditioner.take(whole))
    assert conditioner.take(noise(3000, 2)).isfinite().all(), "shorter than a window"
    assert conditioner.take(noise(30000, 2, rate_hz=32000)).isfinite().all()


def test_texts_recordings_and_embeddings(conditioner: ClapConditioner) -> None:
    conditioner.eval()
    recording = noise(20000, 3)
    prepared = conditioner.prepare(["slow rock", "fast techno", recording, conditioner.take(recording), None, " "])
    assert prepared.features_BLE is not None
    assert prepared.mask_BL[:, 0].tolist() == [True, True, True, True, False, False]
    assert torch.equal(prepared.features_BLE[2], prepared.features_BLE[3])
    assert not torch.equal(prepared.features_BLE[0], prepared.features_BLE[1])
    torch.testing.assert_close(prepared.features_BLE[:4, 0].norm(dim=1), torch.ones(4))
    condition = conditioner(prepared)
    assert condition.embeddings_BLD[4:].eq(0).all()
    assert torch.equal(conditioner.null(1).embeddings_BLD, condition.embeddings_BLD[4:5])


def test_the_frozen_model_is_outside_the_module_tree(conditioner: ClapConditioner) -> None:
    names = set(conditioner.state_dict())
    assert {name.split(".")[0] for name in names} == {"output_proj", "quantizer"}
    assert "quantizer.layers.1.embed_avg" in names
    assert [name for name, _ in conditioner.named_parameters()] == ["output_proj.weight", "output_proj.bias"]


def make_conditioned(folder: Path) -> LanguageModel:
    clap = ClapConditionConfig(kind="clap", path=str(folder), num_levels=2, num_entries=16)
    model = build_model(replace(MODEL, conditions={"style": clap}), CONDITIONER, CODEC)
    initialize(model, 0)
    return model


@torch.no_grad()
def test_sensitivity(folder: Path) -> None:
    model = make_conditioned(folder)
    sequence = random_sequence(model, 1, 9)
    first, second = noise(20000, 1), noise(20000, 5)
    for step in range(3):  # of training, so that the codebooks hold something
        model(sequence.expand(2, -1, -1), model.prepare([{"style": first}, {"style": second}]))
        for conditioner in model.conditioners.values():
            conditioner.learn(step, lambda sums: sums)
    model.eval()

    def logits(row: object) -> torch.Tensor:
        return model(sequence, model.prepare([row]))  # type: ignore[list-item]

    nothing = logits(None)
    one, other, text, words = (logits({"style": value}) for value in (first, second, "slow rock", "fast techno"))
    assert (one - other).abs().max() > 1e-3
    assert (text - words).abs().max() > 1e-3
    assert (text - nothing).abs().max() > 1e-3
    torch.testing.assert_close(logits({"style": None}), nothing)
    torch.testing.assert_close(model(sequence, None), nothing, atol=1e-5, rtol=0)


def test_a_folder_without_clap_is_named(tmp_path: Path) -> None:
    def build() -> None:
        ClapConditioner(ClapConditionConfig(kind="clap", path=str(tmp_path)), 6)

    with pytest.raises(FileNotFoundError, match=r"config\.json: absent; a clap condition's path must name a folder"):
        build()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    with pytest.raises(ValueError, match=r"config\.json: no CLAP config \(model_type 't5'\)"):
        build()
    with pytest.raises(FileNotFoundError, match=r"model\.conditions\.\*\.path: no folder"):
        ClapConditioner(ClapConditionConfig(kind="clap", path=str(tmp_path / "none")), 6)
