"""Numbers of a style condition must fit each other and the training's segment."""

from typing import Any

import pytest

from musicgen_core.config.condition import StyleConditionConfig, hides_frames, reads_audio
from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.extractor import MelExtractorConfig, PretrainedExtractorConfig
from musicgen_core.config.load import ConfigError, from_json, parse_config, resolve_runs, to_json
from musicgen_core.config.model import ModelConfig


def parse(style: dict[str, Any], name: str = "style", **training: Any) -> Any:
    conditions = {name: {"kind": "style", **style}}
    raw = {"corpora": {"mine": {"path": "music"}}, "model": {"conditions": conditions}, "training": training}
    return resolve_runs(parse_config(raw))["base"].model.conditions[name]


def test_defaults_are_musicgen_style_s_and_need_no_download() -> None:
    style = parse({})
    assert isinstance(style, StyleConditionConfig)
    assert isinstance(style.extractor, MelExtractorConfig)
    assert (style.dim, style.num_heads, style.num_layers) == (512, 8, 8)
    assert (style.min_sec, style.eval_sec, style.max_sec) == (1.5, 3.0, 4.5)
    assert (style.num_levels, style.eval_levels, style.num_entries, style.downsample) == (6, 3, 1024, 15)
    assert reads_audio({"style": style})
    assert hides_frames({"style": style})
    assert not hides_frames({"style": parse({"mask_excerpt": False})})


def test_the_extractor_is_chosen_by_its_kind() -> None:
    style = parse({"extractor": {"kind": "transformers", "path": "models/mert", "layer": 7}})
    assert style.extractor == PretrainedExtractorConfig(kind="transformers", path="models/mert", layer=7)
    config = ModelConfig(conditions={"style": style})
    assert from_json(ModelConfig, to_json(config)) == config
    with pytest.raises(ConfigError, match=r"style\.extractor\.kind: unknown value `mert`; did you mean"):
        parse({"extractor": {"kind": "mert"}})
    with pytest.raises(ConfigError, match=r"style\.extractor\.path: this key is required"):
        parse({"extractor": {"kind": "transformers"}})


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ({"min_sec": 5.0}, r"\.min_sec: 5 must be above 0 and at most max_sec 4\.5"),
        (
            {"max_sec": 9.0},
            r"\.max_sec: excerpts of 9 s are longer than a segment, 5 s; lower it, or raise training\.seg",
        ),
        ({"eval_sec": 1.0}, r"\.eval_sec: 1 must lie between min_sec 1\.5 and max_sec 4\.5"),
        ({"eval_levels": 7}, r"\.eval_levels: 7 must lie between 1 and num_levels 6"),
        ({"dim": 36}, r"\.dim: 36 must be even, at least 4 and a multiple of num_heads 8"),
        ({"downsample": 0}, r"\.downsample: 0 must be at least 1"),
        ({"num_entries": 1}, r"\.num_entries: 1 must be at least 2"),
        ({"num_layers": -1}, r"\.num_layers: -1 must be at least 0"),
        ({"encoder_dropout": 1.0}, r"\.encoder_dropout: 1\.0 must lie in \[0, 1\)"),
        ({"dropout": 2.0}, r"\.dropout: 2\.0 must lie in \[0, 1\]"),
        ({"extractor": {"frame_rate_hz": 77}}, r"\.extractor\.frame_rate_hz: 77 must divide sample_rate_hz 24000"),
        ({"extractor": {"num_mels": 0}}, r"both and num_mels be above 0"),
        (
            {"extractor": {"window_samples": 60000}},
            r"window_samples: 60000 must be at least 16 and fit into min_sec, 36000",
        ),
        ({"max_second": 4.0}, r"unknown key `max_second`; did you mean `max_sec`"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_numbers(style: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(style, segment_sec=5.0)


def test_a_style_has_a_name_of_its_own() -> None:
    with pytest.raises(ConfigError, match=r"conditions\.genre: style reads a track's audio, not its field `genre`"):
        parse({}, name="genre")


def test_where_a_style_begins() -> None:
    raw = {
        "corpora": {"mine": {"path": "music"}},
        "generation": {"prompts": [{"style": "a.wav", "style_start_sec": -1}]},
    }
    with pytest.raises(ConfigError, match=r"generation\.prompts\.0\.style_start_sec: -1\.0 must be at least 0"):
        parse_config(raw)
    config = GenerationConfig(prompts=("words",))
    assert from_json(GenerationConfig, to_json(config)) == config
