"""Feature extractors: against torchaudio and transformers; what cannot be one is named."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_hubert import NUM_LAYERS, RATE_HZ, WIDTH, edit_config, write_hubert

from musicgen_core.conditioners.extractor import MelExtractor, PretrainedExtractor, build_extractor
from musicgen_core.conditioners.style import StyleConditioner
from musicgen_core.config.condition import StyleConditionConfig
from musicgen_core.config.extractor import MelExtractorConfig, PretrainedExtractorConfig

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers' modules


def config_of(folder: Path, **changes: object) -> PretrainedExtractorConfig:
    return PretrainedExtractorConfig(kind="transformers", path=str(folder), **changes)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_hubert(tmp_path / "hubert")


def noise(num_samples: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy((0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32))


def test_mel_is_torchaudio_s() -> None:
    from torchaudio.transforms import MelSpectrogram

    extractor = MelExtractor(MelExtractorConfig(sample_rate_hz=8000, frame_rate_hz=50, window_samples=512, num_mels=20))
    spectrum = MelSpectrogram(8000, 512, hop_length=160, n_mels=20, normalized="window", center=False)
    wav_N = noise(4000)
    expected_TM = (spectrum(wav_N).T.clamp_min(1e-6).log() + 5) / 5
    found_TM = extractor(wav_N)
    torch.testing.assert_close(found_TM, expected_TM, atol=1e-4, rtol=1e-4)
    assert len(found_TM) == extractor.count_frames(4000) == 22
    assert [extractor.count_frames(n) for n in (0, 511, 512, 671, 672)] == [0, 0, 1, 1, 2]
    assert extractor(torch.zeros(512)).isfinite().all()


def test_a_folder_is_heard_as_transformers_hears_it(folder: Path) -> None:
    from transformers import HubertModel

    model = HubertModel.from_pretrained(folder).eval()
    wav_N = noise(4001)
    with torch.no_grad():
        last = model(wav_N[None]).last_hidden_state[0]
        every = model(wav_N[None], output_hidden_states=True).hidden_states
        normal = model(((wav_N - wav_N.mean()) / (wav_N.var(correction=0) + 1e-7).sqrt())[None]).last_hidden_state[0]
    extractor = build_extractor(config_of(folder))
    assert (extractor.sample_rate_hz, extractor.width) == (RATE_HZ, WIDTH)
    torch.testing.assert_close(extractor(wav_N), last)
    assert extractor.count_frames(4001) == len(last)
    assert [extractor.count_frames(n) for n in (10, 89, 90, 170)] == [0, 0, 1, 2]
    for layer in range(NUM_LAYERS + 1):
        torch.testing.assert_close(build_extractor(config_of(folder, layer=layer))(wav_N), every[layer][0])
    torch.testing.assert_close(build_extractor(config_of(folder, normalize=True))(wav_N), normal, atol=1e-4, rtol=1e-3)


def test_the_frozen_model_is_outside_the_module_tree(folder: Path) -> None:
    style = StyleConditionConfig(
        kind="style", extractor=config_of(folder), dim=16, num_heads=2, num_layers=1, downsample=10
    )
    conditioner = StyleConditioner(style, 6)
    assert conditioner.null_length == -(-conditioner.extractor.count_frames(36000) // 10)
    parts = {name.split(".")[0] for name in conditioner.state_dict()}
    assert parts == {"output_proj", "input_proj", "encoder", "norm", "quantizer"}


def test_mert_is_read_as_hubert_and_runs_no_code(folder: Path) -> None:
    """A folder as m-a-p/MERT-v1-95M's, whose rate stands in config.json and whose code is never looked at."""
    plain, wav_N = build_extractor(config_of(folder))(noise(3000)), noise(3000)
    (folder / "preprocessor_config.json").unlink()
    (folder / "modeling_MERT.py").write_text("raise SystemExit('run')\n")
    auto_map = {"AutoConfig": "configuration_MERT.MERTConfig", "AutoModel": "modeling_MERT.MERTModel"}
    mert = {"feature_extractor_cqt": False, "deepnorm": False, "attention_relax": -1.0, "sample_rate": 24000}
    edit_config(folder, model_type="mert_model", auto_map=auto_map, architectures=["MERTModel"], **mert)
    extractor = build_extractor(config_of(folder))
    assert extractor.sample_rate_hz == 24000
    torch.testing.assert_close(extractor(wav_N), plain)
    edit_config(folder, feature_extractor_cqt=True, deepnorm=True)
    with pytest.raises(
        ValueError, match=r"config\.json: a MERT with feature_extractor_cqt, deepnorm, which needs code"
    ):
        build_extractor(config_of(folder))


def test_what_is_no_extractor_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.conditions\.\*\.extractor\.path: no folder .*nowhere"):
        build_extractor(config_of(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty/config\.json: absent; model\.conditions.*must name a folder"):
        build_extractor(config_of(tmp_path / "empty"))
    (tmp_path / "empty/config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: not JSON"):
        build_extractor(config_of(tmp_path / "empty"))
    (tmp_path / "empty/config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"config\.json: not JSON with keys and values"):
        build_extractor(config_of(tmp_path / "empty"))
    (tmp_path / "empty/config.json").write_text(json.dumps({"model_type": "t5", "hidden_size": 4}))
    with pytest.raises(
        ValueError, match=r"model_type 't5' is none that hears a waveform \(it lacks num_hidden_layers, "
    ):
        build_extractor(config_of(tmp_path / "empty"))
    with pytest.raises(ValueError, match=r"layer: 3, but .*hubert has hidden states 0 to 2"):
        build_extractor(config_of(folder, layer=3))
    edit_config(folder, model_type="own", auto_map={"AutoModel": "own.Model"})
    with pytest.raises(ValueError, match=r"model_type 'own' needs code of its own \(auto_map\), which is never run"):
        build_extractor(config_of(folder))
    edit_config(folder, model_type="hubert", auto_map=None)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(
        ValueError, match=r"says at which rate the model listens; set model\.conditions.*sample_rate_hz"
    ):
        build_extractor(config_of(folder))
    assert build_extractor(config_of(folder, sample_rate_hz=8000)).sample_rate_hz == 8000
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(
        FileNotFoundError, match=r"hubert: holds no \.safetensors; .* are pickles, which are never opened"
    ):
        build_extractor(config_of(folder, sample_rate_hz=8000))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_hidden_layers": 3}, r"missing: encoder\.layers\.2"),
        (
            {"intermediate_size": 48},
            r"of another shape: .*dense\.weight is \[32, 16\], the model has \[48",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(folder: Path, change: dict[str, int], words: str) -> None:
    edit_config(folder, **change)
    with pytest.raises(ValueError, match=rf"hubert: weights do not fit the model\. {words}"):
        PretrainedExtractor(config_of(folder))(noise(3000))


def test_an_excerpt_too_short_for_the_extractor_is_refused(folder: Path) -> None:
    style = StyleConditionConfig(kind="style", extractor=config_of(folder), min_sec=0.01, eval_sec=1.5)
    with pytest.raises(
        ValueError, match=r"min_sec 0\.01 is too short for its extractor, .* for 80 samples; raise min_sec"
    ):
        StyleConditioner(style, 6)
