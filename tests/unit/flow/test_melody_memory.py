"""The forecast of a run that hears recordings: its parameters to the unit, its prefix in the sequence."""

from dataclasses import replace

import pytest
import torch

from musicgen_core.conditioners.style import StyleConditioner
from musicgen_core.config.codec_spec import read_codec_folder, shipped_codec_folder
from musicgen_core.config.condition import StyleConditionConfig
from musicgen_core.config.load import parse_config, resolve_runs
from musicgen_core.flow import style_memory
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


@pytest.mark.parametrize("fusion", ["prepend", "cross"])
def test_a_style_run_is_forecast(fusion: str) -> None:
    codec = read_codec_folder(shipped_codec_folder())
    style = {"style": {"kind": "style", "fusion": fusion, "dim": 64, "num_layers": 2}}
    raw = {"corpora": {"mine": {"path": "music"}}, "model": {"conditions": style}}
    run = resolve_runs(parse_config(raw))["base"]
    found, plain = (
        estimate_memory(run, codec),
        estimate_memory(replace(run, model=replace(run.model, conditions={})), codec),
    )
    parameters = sum(p.numel() for p in build_model(run.model, run.conditioner, codec, device="meta").parameters())
    assert found.num_parameters == parameters > plain.num_parameters
    assert found.total > plain.total


def test_the_style_encoder_saves_no_more_than_forecast() -> None:
    """Against what autograd sees; and not far less, so that the figure means something."""
    style = StyleConditionConfig(kind="style", dim=64, num_heads=2, num_layers=2, num_entries=8, num_levels=2)
    conditioner = StyleConditioner(style, 32)
    assert conditioner.null_length == style_memory.count_positions(style)
    prepared = conditioner.prepare([None])
    saved: dict[int, int] = {}
    weights = {parameter.data_ptr() for parameter in conditioner.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in weights:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        condition = conditioner(prepared)
    assert condition.embeddings_BLD.requires_grad
    total = sum(saved.values())
    assert 0.7 * style_memory.count_saved_bytes(style) < total <= style_memory.count_saved_bytes(style)
