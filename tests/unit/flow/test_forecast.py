"""Parameters are counted exactly; memory grows with what it should grow with."""

from dataclasses import replace

import pytest

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.load import parse_config, resolve_runs
from musicgen_core.config.root import RunConfig
from musicgen_core.flow.forecast import count_parameters, estimate_memory
from musicgen_core.lm.model import build_model


def make_run(**keys: object) -> RunConfig:
    return resolve_runs(parse_config({"corpora": {"mine": {"path": "music"}}, **keys}))["base"]


@pytest.mark.parametrize("size", ["tiny", "small", "medium", "large"])
def test_parameters_are_those_of_the_model(codec_spec: CodecSpec, size: str) -> None:
    run = make_run(model={"size": size}, conditioner={"num_bins": 100, "dim": 8})
    model = build_model(run.model, run.conditioner, codec_spec, "meta")
    assert count_parameters(run, codec_spec) == sum(parameter.numel() for parameter in model.parameters())


def test_memory_follows_the_micro_batch_and_the_shards(codec_spec: CodecSpec) -> None:
    run = make_run(model={"size": "small"}, training={"batch_size": 16})
    whole = estimate_memory(run, codec_spec)
    assert whole.state == 20 * whole.num_parameters
    lion = make_run(model={"size": "small"}, training={"optimizer": {"kind": "lion"}})
    assert estimate_memory(lion, codec_spec).state == 16 * whole.num_parameters
    small = estimate_memory(replace(run, training=replace(run.training, micro_batch_size=4)), codec_spec)
    assert (small.activations * 4, small.logits * 4, small.state) == (whole.activations, whole.logits, whole.state)
    shared = estimate_memory(run, codec_spec, num_processes=4)
    assert shared.state * 4 == pytest.approx(whole.state)
    saved = estimate_memory(replace(run, training=replace(run.training, activation_checkpointing=True)), codec_spec)
    assert saved.activations < whole.activations / 5
