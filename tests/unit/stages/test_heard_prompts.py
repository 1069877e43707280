"""Generation from prompts with a style or a sound: recordings and words for models with style and CLAP conditions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from small_clap import write_clap
from small_models import CODEC, CONDITIONER, MODEL, make_model, random_sequence
from test_generate_stage import LoudCodec

from musicgen_core.codec import load
from musicgen_core.conditioners.recording import Recording
from musicgen_core.conditioners.style import StyleConditioner
from musicgen_core.config.condition import ClapConditionConfig, ConditionConfig, StyleConditionConfig
from musicgen_core.config.evaluation import ContinuationConfig, GenerationConfig
from musicgen_core.config.extractor import MelExtractorConfig
from musicgen_core.config.prompt import PromptConfig
from musicgen_core.config.prompt_files import find_recordings
from musicgen_core.config.root import GenerateStageConfig, TrainStageConfig
from musicgen_core.config.training import TrainingConfig
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import build_model
from musicgen_core.lm.weights import load_export, save_export
from musicgen_core.stages import evaluate, generate
from musicgen_core.util.atomic import write_json

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers' modules

STYLE = StyleConditionConfig(
    kind="style",
    extractor=MelExtractorConfig(sample_rate_hz=8000, frame_rate_hz=50, window_samples=512, num_mels=16),
    min_sec=0.2,
    max_sec=0.5,
    eval_sec=0.3,
    dim=16,
    num_heads=2,
    num_layers=1,
    num_levels=2,
    eval_levels=2,
    num_entries=16,
    downsample=5,
)


def hum(path: Path, frequency_hz: float, seconds: float = 0.6, level: float = 0.3) -> str:
    times = np.arange(round(seconds * 16000)) / 16000
    soundfile.write(path, level * np.sin(2 * np.pi * frequency_hz * times), 16000)
    return str(path)


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An export with both conditions, whose codebooks have learnt something."""
    path = str(write_clap(tmp_path / "clap"))
    clap = ClapConditionConfig(kind="clap", path=path, fusion="sum", num_levels=4, num_entries=64)
    conditions: dict[str, ConditionConfig] = {"style": STYLE, "sound": clap}
    config = replace(MODEL, conditions=conditions)
    model = build_model(config, CONDITIONER, CODEC)
    initialize(model, 0)
    times = np.arange(9600) / 16000
    tones = [Recording((0.3 * np.sin(2 * np.pi * f * times))[None].astype(np.float32), 16000) for f in (200, 800, 2400)]
    rows = [*({"style": one, "sound": one} for one in tones), {"sound": "slow rock"}, {"sound": "fast techno"}]
    for step in range(8):
        with torch.no_grad():
            model(random_sequence(model, len(rows), 6), model.prepare(rows))
        for conditioner in model.conditioners.values():
            conditioner.learn(step, lambda sums: sums)
    training = TrainStageConfig(
        seed=3, codec=CODEC, model=config, conditioner=CONDITIONER, training=TrainingConfig(segment_sec=1.0)
    )
    (tmp_path / "export").mkdir()
    save_export(tmp_path / "export", model.eval(), training, {})
    write_json(tmp_path / "where.json", {"codec": str(tmp_path / "codec"), "corpora": {}})
    monkeypatch.setattr(load, "load_codec", lambda folder, device, num_channels: LoudCodec(CODEC))
    return {
        "export": tmp_path / "export",
        "prompts": [],
        "where": tmp_path / "where.json",
        "out": tmp_path / "samples",
    }


def make_samples(paths: dict[str, Any], prompts: list[Any], **sampling: Any) -> list[dict[str, Any]]:
    config = GenerationConfig(prompts=tuple(prompts), duration_sec=0.3, temperature=0, **{"cfg_coef": 25.0, **sampling})
    generate.run(GenerateStageConfig(generation=config, num_prompts=0), **paths)
    records: list[dict[str, Any]] = json.loads((paths["out"] / "samples.json").read_text())
    return [{**record, "bytes": (paths["out"] / record["file"]).read_bytes()} for record in records]


def test_styles_sounds_and_words_are_each_heard(paths: dict[str, Any], tmp_path: Path) -> None:
    """CLAP: a recording (`melody`), else a text of its own, else the caption; a style: its own recording."""
    low, high = hum(tmp_path / "low.wav", 220), hum(tmp_path / "high.wav", 2100)
    prompts = [
        "slow rock",
        PromptConfig(text="slow rock", style=low),
        PromptConfig(text="slow rock", style=high),
        PromptConfig(style=high),
        PromptConfig(text="slow rock", melody=high),
        PromptConfig(text="slow rock", conditions={"sound": "fast techno"}),
        PromptConfig(text="slow rock", melody=high, style=high, style_start_sec=0.2),
    ]
    samples = make_samples(paths, prompts)
    assert [sample.get("style") for sample in samples] == [None, low, high, high, None, None, high, None]
    assert samples[6]["melody"] == high
    assert len({sample["bytes"] for sample in samples}) == len(samples), "each is heard"
    double = make_samples(paths, prompts, cfg_coef_beta=6.0)
    assert double[1]["cfg_coef_beta"] == 6.0
    assert double[1]["bytes"] != samples[1]["bytes"]


def test_a_style_that_cannot_be_heard_is_named(paths: dict[str, Any], tmp_path: Path) -> None:
    def ask(name: str, **more: Any) -> None:
        make_samples(paths, [PromptConfig(text="rock", style=name, **more)])

    with pytest.raises(
        ValueError, match=r"prompt 'rock': its style .*short\.wav lasts 0\.10 s, but a style needs 0\.2 s"
    ):
        ask(hum(tmp_path / "short.wav", 300, 0.1))
    with pytest.raises(ValueError, match=r"prompt 'rock': its style .*silent\.wav is silent in its middle 0\.3 s"):
        ask(hum(tmp_path / "silent.wav", 300, level=0.0))
    with pytest.raises(
        ValueError, match=r"late\.wav: has 0\.6 s, but its style is to begin at 3 s; lower style_start_sec"
    ):
        ask(hum(tmp_path / "late.wav", 300), style_start_sec=3.0)
    (tmp_path / "words.wav").write_text("no audio at all")
    with pytest.raises(Exception, match=r"words\.wav"):
        ask(str(tmp_path / "words.wav"))
    with pytest.raises(
        FileNotFoundError, match=r"prompts\.0 \('rock'\): its style none\.wav is not there \(looked in /"
    ):
        ask("none.wav")
    assert not paths["out"].exists()


def test_figures_leave_out_what_the_style_was_heard_in(paths: dict[str, Any]) -> None:
    """The middle 0.3 s of a segment of 1 s, in frames of 20 ms; nothing of a silent one."""
    model, _ = load_export(paths["export"])
    style = model.conditioners["style"]
    assert isinstance(style, StyleConditioner)
    times = np.arange(16000) / 16000
    heard = Recording((0.3 * np.sin(2000 * times))[None].astype(np.float32), 16000)
    rows = [{"style": style.take(heard), "description": None}, {"style": style.take(replace(heard, num_valid=100))}]
    hidden = evaluate._hidden_frames(model, [np.zeros((4, 50)), np.zeros((4, 30))], rows, 50.0)
    assert hidden is not None
    assert np.flatnonzero(hidden[0]).tolist() == list(range(17, 33))
    assert hidden[1].tolist() == [False] * 30
    assert evaluate._hidden_frames(make_model(), [np.zeros((4, 50))], [{}], 50.0) is None


def test_an_export_whose_clap_is_gone_says_what_it_lacks(paths: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "clap").rename(tmp_path / "elsewhere")
    with pytest.raises(
        FileNotFoundError, match=r"no folder .*clap; .*export names it in its config\.json and holds no copy"
    ):
        load_export(paths["export"])


def test_recordings_of_a_config(tmp_path: Path) -> None:
    song = hum(tmp_path / "song.wav", 300)
    prompts = ("words", PromptConfig(text="rock", melody=song, style=song))
    going_on = ContinuationConfig(audio=song)
    assert find_recordings(GenerationConfig(prompts=prompts, continuations=(going_on,))) == [song]
    with pytest.raises(ValueError, match=r"prompts\.0: its style .* is a folder; name one audio file in it"):
        find_recordings(GenerationConfig(prompts=(PromptConfig(style=str(tmp_path)),)))
    with pytest.raises(FileNotFoundError, match=r"continuations\.0: its audio gone\.wav is not there"):
        find_recordings(GenerationConfig(continuations=(ContinuationConfig(audio="gone.wav"),)))


def test_a_caption_stands_in_where_the_track_cannot_be_heard(paths: dict[str, Any]) -> None:
    model, _ = load_export(paths["export"], torch.device("cpu"))
    track = {"track": "0" * 32, "caption": "slow rock"}
    held_out = generate.Request("slow rock", "held-out", track=track)
    assert generate.make_row(held_out, model, None, 50) == {
        "description": "slow rock",
        "sound": "slow rock",
        "style": None,
    }
