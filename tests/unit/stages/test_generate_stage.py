import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from small_models import CODEC, CONDITIONER, MODEL, make_model

from musicgen_core.codec import load
from musicgen_core.config.condition import ChromaConditionConfig, NumberConditionConfig
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.evaluation import ContinuationConfig, GenerationConfig
from musicgen_core.config.prompt import PromptConfig
from musicgen_core.config.root import GenerateStageConfig, TrainStageConfig
from musicgen_core.config.training import TrainingConfig
from musicgen_core.data.manifest import ManifestRecord
from musicgen_core.lm.weights import save_export
from musicgen_core.stages import generate
from musicgen_core.util.atomic import write_json, write_jsonl

TRAINED = TrainStageConfig(seed=3, codec=CODEC, model=MODEL, conditioner=CONDITIONER, training=TrainingConfig())
CONFIG = GenerateStageConfig(
    generation=GenerationConfig(prompts=("fast techno",), duration_sec=0.21, top_k=10), num_prompts=4
)


class LoudCodec:
    """Every code becomes one frame of that level, up to twice full scale."""

    def __init__(self, spec: CodecSpec) -> None:
        self.spec = spec

    def encode(self, wav_BCN: torch.Tensor) -> torch.Tensor:
        assert wav_BCN.shape[1] == self.spec.num_channels
        frames = wav_BCN.shape[2] // self.spec.hop_samples
        return torch.full((len(wav_BCN), self.spec.num_codebooks, frames), 7)

    def decode(self, codes_BKT: torch.Tensor) -> torch.Tensor:
        level_B1T = codes_BKT.sum(1, keepdim=True) * (2.0 / self.spec.card / self.spec.num_codebooks)
        return level_B1T.repeat_interleave(self.spec.hop_samples, dim=2)


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    (tmp_path / "export").mkdir()
    save_export(tmp_path / "export", make_model(), TRAINED, {})
    nothing = dict.fromkeys(ManifestRecord.__dataclass_fields__)
    captions = ["slow rock", None, "slow rock", "fast techno"]
    write_jsonl(tmp_path / "generate.jsonl", [{**nothing, "caption": caption} for caption in captions])
    write_json(tmp_path / "where.json", {"codec": str(tmp_path / "codec"), "corpora": {}})
    monkeypatch.setattr(load, "load_codec", lambda folder, device, num_channels: LoudCodec(CODEC))
    return {
        "export": tmp_path / "export",
        "prompts": [tmp_path / "generate.jsonl"],
        "where": tmp_path / "where.json",
        "out": tmp_path / "samples",
    }


def test_writes_every_sample_without_clipping(paths: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    generate.run(CONFIG, **paths)
    records = json.loads((paths["out"] / "samples.json").read_text())
    assert [(record["prompt"], record["source"]) for record in records] == [
        ("fast techno", "prompt"),
        ("slow rock", "held-out"),
        (None, "unconditional"),
    ]
    assert {path.name for path in paths["out"].iterdir()} == {"samples.json", "000.wav", "001.wav", "002.wav"}
    for record in records:
        wav, sample_rate_hz = soundfile.read(paths["out"] / record["file"])
        assert soundfile.info(paths["out"] / record["file"]).subtype == "PCM_16"
        assert sample_rate_hz == record["sample_rate_hz"] == 16000
        assert len(wav) == 3360  # 0.21 s: eleven frames, cut to the asked length
        assert record["codes_shape"] == [4, 11]
        assert record["duration_sec"] == pytest.approx(0.21)
        assert record["gain"] < 1
        assert np.abs(wav).max() == pytest.approx(0.999, abs=1e-4)
    assert "turned down by" in capsys.readouterr().err


def test_a_sample_does_not_depend_on_batches(paths: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    generate.run(CONFIG, **paths)
    together = [path.read_bytes() for path in sorted(paths["out"].glob("*.wav"))]
    monkeypatch.setattr(generate, "BATCH_SIZE", 2)
    generate.run(CONFIG, **paths)
    assert [path.read_bytes() for path in sorted(paths["out"].glob("*.wav"))] == together


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate_hz": 32000}, "sample_rate_hz 16000, but .* has 32000"),
        ({"num_codebooks": 8}, "num_codebooks 4, but .* has 8"),
        ({"card": 1024}, "card 40, but .* has 1024"),
        ({"digest": "f" * 32}, f"digest {'0' * 32}, but .* has {'f' * 32}"),
    ],
)
def test_another_codec_is_refused_with_both_numbers(
    paths: dict[str, Any], monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(load, "load_codec", lambda folder, device, num_channels: LoudCodec(replace(CODEC, **change)))
    with pytest.raises(ValueError, match=message):
        generate.run(CONFIG, **paths)
    assert not paths["out"].exists()


def test_quiet_audio_is_not_touched(tmp_path: Path) -> None:
    wav_CN = np.array([[0.5, -0.25, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    assert generate.write_wav(tmp_path / "a.wav", wav_CN, 16000) == 1.0
    read, _ = soundfile.read(tmp_path / "a.wav")
    np.testing.assert_allclose(read.T, wav_CN, atol=1 / 32768)
    assert generate.write_wav(tmp_path / "silent.wav", wav_CN * 0, 16000) == 1.0
    with pytest.raises(ValueError, match=r"b\.wav: the codec decoded NaN"):
        generate.write_wav(tmp_path / "b.wav", wav_CN * np.nan, 16000)


CONDITIONS: Any = {
    "self_wav": ChromaConditionConfig(kind="chroma", sample_rate_hz=16000, radix2_exp=10, num_frames=8),
    "bpm": NumberConditionConfig(kind="number"),
}


def hum(path: Path, frequency_hz: float) -> str:
    times = np.arange(8000) / 16000
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * frequency_hz * times), 16000)
    return str(path)


def make_samples(paths: dict[str, Any], prompts: list[Any], num_prompts: int = 0, **more: Any) -> list[dict[str, Any]]:
    sampling = GenerationConfig(prompts=tuple(prompts), duration_sec=0.1, temperature=0)
    generate.run(GenerateStageConfig(generation=sampling, num_prompts=num_prompts), **paths, **more)
    records: list[dict[str, Any]] = json.loads((paths["out"] / "samples.json").read_text())
    return [{**record, "bytes": (paths["out"] / record["file"]).read_bytes()} for record in records]


@pytest.fixture
def melody_paths(paths: dict[str, Any]) -> dict[str, Any]:
    trained = replace(TRAINED, model=replace(MODEL, conditions=CONDITIONS))
    save_export(paths["export"], make_model(conditions=CONDITIONS), trained, {})
    return paths


def test_prompts_with_a_melody_and_other_conditions(melody_paths: dict[str, Any], tmp_path: Path) -> None:
    low, high = hum(tmp_path / "low.wav", 262), hum(tmp_path / "high.wav", 392)
    prompts = [
        "rock",
        PromptConfig(text="rock", melody=low),
        PromptConfig(text="rock", melody=high),
        PromptConfig(melody=high),
        PromptConfig(text="rock", conditions={"bpm": 90.0}),
        PromptConfig(text="rock", conditions={"bpm": 180}),
        PromptConfig(text="rock", melody=low),
    ]
    samples = make_samples(melody_paths, prompts)
    assert [sample["prompt"] for sample in samples] == ["rock", "rock", "rock", None, "rock", "rock", None]
    assert [sample.get("melody") for sample in samples] == [None, low, high, high, None, None, None]
    assert samples[4]["conditions"] == {"bpm": 90.0}
    assert len({sample["bytes"] for sample in samples}) == 7, "each condition is heard"
    assert "melody" not in samples[0]


def test_a_held_out_caption_comes_with_its_own_melody(melody_paths: dict[str, Any], tmp_path: Path) -> None:
    from audio_corpus import write_audio
    from token_corpus import write_corpus

    folder, _ = write_corpus(tmp_path, num_frames=60)
    tar = write_audio(tmp_path, folder)
    paths = {**melody_paths, "prompts": [folder / "valid.jsonl"]}
    deaf = make_samples(paths, [], 1)
    heard = make_samples(paths, [], 1, audio=[tar])
    assert [sample["source"] for sample in heard] == ["held-out", "unconditional"]
    assert heard[0]["bytes"] != deaf[0]["bytes"]
    assert heard[1]["bytes"] == deaf[1]["bytes"]


def test_what_the_model_does_not_hear_is_refused(
    paths: dict[str, Any], melody_paths: dict[str, Any], tmp_path: Path
) -> None:
    melody = hum(tmp_path / "low.wav", 262)
    with pytest.raises(ValueError, match=r"'rock': the model is not conditioned on key, but on \['description', 'bpm'"):
        make_samples(melody_paths, [PromptConfig(text="rock", conditions={"key": "a minor"})])
    with pytest.raises(ValueError, match=r"low\.wav: has 0\.5 s, but its melody is to begin at 2 s"):
        make_samples(melody_paths, [PromptConfig(melody=melody, melody_start_sec=2.0)])
    with pytest.raises(
        FileNotFoundError, match=r"generation\.prompts\.0: its melody .*none\.wav is not there \(looked in"
    ):
        make_samples(melody_paths, [PromptConfig(melody=str(tmp_path / "none.wav"))])
    with pytest.raises(
        ValueError, match=r"low\.wav, but this model is not conditioned on one; it hears self_wav: name the"
    ):
        make_samples(melody_paths, [PromptConfig(style=melody)])
    save_export(paths["export"], make_model(), TRAINED, {})
    with pytest.raises(ValueError, match=r"has the melody .*low\.wav, but this model is not conditioned on recordings"):
        make_samples(paths, [PromptConfig(melody=melody)])


def with_generation(**changes: Any) -> GenerateStageConfig:
    return replace(CONFIG, generation=replace(CONFIG.generation, **changes))


def test_longer_than_trained_goes_by_windows(paths: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The model knows 5 s; the first window of 1 s is that of the shorter sample."""
    generate.run(with_generation(duration_sec=1.0), **paths)
    short = json.loads((paths["out"] / "samples.json").read_text())
    levels = [soundfile.read(paths["out"] / record["file"])[0] / record["gain"] for record in short]
    capsys.readouterr()
    generate.run(with_generation(duration_sec=2.5, window_sec=1.0), **paths)
    said = capsys.readouterr().err
    assert "generate: 2.5 s in 4 windows of 1 s, each hearing the last 0.4 s of the one before" in said
    assert "generate (steps): " in said
    records = json.loads((paths["out"] / "samples.json").read_text())
    for record, level in zip(records, levels, strict=True):
        wav, _ = soundfile.read(paths["out"] / record["file"])
        assert len(wav) == 40000
        assert record["codes_shape"] == [4, 125]
        np.testing.assert_allclose(wav[:16000] / record["gain"], level, atol=1e-3)


def test_the_model_s_own_length_is_the_window(paths: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    generate.run(with_generation(duration_sec=5.02), **paths)
    assert "5.02 s in 2 windows of 5 s, each hearing the last 2 s" in capsys.readouterr().err


def write_tone(path: Path, seconds: float, rate_hz: int = 44100) -> Path:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    soundfile.write(path, np.stack([np.sin(2765 * times)] * 2, 1) * 0.5, rate_hz)
    return path


def test_recordings_are_continued(paths: dict[str, Any], tmp_path: Path) -> None:
    """Any rate and channels; what is given stays, in a sample of the whole length; other samples do not change."""
    generate.run(CONFIG, **paths)
    plain = {path.name: path.read_bytes() for path in paths["out"].glob("*.wav")}
    song = write_tone(tmp_path / "song.wav", 1.0)
    items = tuple(
        ContinuationConfig(audio=str(song), prompt_sec=prompt_sec, start_sec=0.5, text=text)
        for prompt_sec, text in ((0.1, "slow rock"), (0.1, None), (0.06, None))
    )
    generate.run(with_generation(continuations=items), **paths)
    records = json.loads((paths["out"] / "samples.json").read_text())
    assert [record["source"] for record in records[3:]] == ["continuation"] * 3
    assert [record["prompt"] for record in records[3:]] == ["slow rock", None, None]
    assert records[3]["continues"] == {"audio": str(song), "prompt_sec": 0.1, "start_sec": 0.5, "text": "slow rock"}
    assert records[0]["continues"] is None
    for name, data in plain.items():
        assert (paths["out"] / name).read_bytes() == data
    for record, frames in zip(records[3:], (5, 5, 3), strict=True):
        wav, _ = soundfile.read(paths["out"] / record["file"])
        assert len(wav) == 3360
        # the test's codec gives every code 7, which it decodes as this level
        np.testing.assert_allclose(wav[: frames * 320], 7 * 2 / 40 * record["gain"], atol=1e-3)


def test_a_recording_too_short_is_named_with_both_lengths(paths: dict[str, Any], tmp_path: Path) -> None:
    song = write_tone(tmp_path / "short.wav", 0.05)
    item = ContinuationConfig(audio=str(song), prompt_sec=0.1)
    with pytest.raises(
        ValueError, match=r"short\.wav has 0\.05 s from second 0 on, but prompt_sec is 0\.1; lower prompt_sec"
    ):
        generate.run(with_generation(continuations=(item,)), **paths)
    assert not paths["out"].exists()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.wav"):
        generate.run(with_generation(continuations=(replace(item, audio="nowhere.wav"),)), **paths)


def test_a_stride_as_long_as_the_window_is_refused(paths: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"generation\.extend_stride_sec 5 must be below the window, 5 s; lower it"):
        generate.run(with_generation(extend_stride_sec=5.0), **paths)
