"""The forecast of a run that hears melodies: its parameters to the unit, its prefix in the sequence."""

from dataclasses import replace

import pytest

from musicgen_core.config.codec_spec import read_codec_folder, shipped_codec_folder
from musicgen_core.config.load import parse_config, resolve_runs
from musicgen_core.flow.memory import estimate_memory
from musicgen_core.lm.model import build_model


@pytest.mark.parametrize("fusion", ["prepend", "cross"])
def test_a_melody_run_is_forecast(fusion: str) -> None:
    codec = read_codec_folder(shipped_codec_folder())
    melody = {"self_wav": {"kind": "chroma", "fusion": fusion}}
    raw = {"corpora": {"mine": {"path": "music"}}, "model": {"conditions": melody}}
    run = resolve_runs(parse_config(raw))["base"]
    deaf = replace(run, model=replace(run.model, conditions={}))
    found, plain = estimate_memory(run, codec), estimate_memory(deaf, codec)
    parameters = sum(p.numel() for p in build_model(run.model, run.conditioner, codec, device="meta").parameters())
    assert found.num_parameters == parameters == plain.num_parameters + 13 * run.model.shape[0]
    assert found.total > plain.total
