"""Parameters are counted exactly, state to the byte, activations as autograd saves them; and what fits."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.load import parse_config, resolve_runs
from musicgen_core.config.root import RunConfig
from musicgen_core.data.batches import count_segment_frames
from musicgen_core.flow.memory import count_parameters, count_saved, estimate_memory, fit
from musicgen_core.flow.parameters import list_parameters
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import build_model
from musicgen_core.patterns.apply import interleave
from musicgen_core.tools import plan
from musicgen_core.train.ema import Ema
from musicgen_core.train.optim import build_optimizer
from musicgen_core.train.parallel import distribute
from musicgen_core.train.ranks import World
from musicgen_core.train.step import Objective

WORLD = World(0, 1, torch.device("cpu"), None)
CODEC = CodecSpec(
    name="test", digest="0" * 32, sample_rate_hz=16000, num_channels=1, num_codebooks=4, card=48, hop_samples=320
)


def make_run(**keys: object) -> RunConfig:
    return resolve_runs(parse_config({"corpora": {"mine": {"path": "music"}}, **keys}))["base"]


def small_run(model: dict[str, object] | None = None, **training: object) -> RunConfig:
    return make_run(
        model={"dim": 64, "num_heads": 4, "num_layers": 3, **(model or {})},
        conditioner={"num_bins": 32, "dim": 8, "max_words": 12},
        training={"segment_sec": 1.2, "batch_size": 2, **training},
    )


@pytest.mark.parametrize("size", ["tiny", "small", "medium", "large"])
def test_parameters_are_those_of_the_model(codec_spec: CodecSpec, size: str) -> None:
    run = make_run(model={"size": size}, conditioner={"num_bins": 100, "dim": 8})
    model = build_model(run.model, run.conditioner, codec_spec, "meta")
    assert count_parameters(run, codec_spec) == sum(parameter.numel() for parameter in model.parameters())
    assert list_parameters(run, codec_spec) == {name: tuple(p.shape) for name, p in model.named_parameters()}


@pytest.mark.parametrize("fusion", ["cross", "prepend"])
def test_parameters_of_other_conditions_count(codec_spec: CodecSpec, fusion: str) -> None:
    conditions = {
        "key": {"kind": "attribute", "fusion": "sum"},
        "bpm": {"kind": "number", "fusion": "prepend"},
        "melody": {"kind": "chroma"},
    }
    run = make_run(model={"conditions": conditions}, conditioner={"fusion": fusion})
    model = build_model(run.model, run.conditioner, codec_spec, "meta")
    assert list_parameters(run, codec_spec) == {name: tuple(p.shape) for name, p in model.named_parameters()}


@pytest.mark.parametrize("kind", ["adamw", "lion", "dadapt_adam", "muon"])
def test_state_is_that_of_the_tensors(kind: str) -> None:
    run = small_run(optimizer={"kind": kind})
    model = build_model(run.model, run.conditioner, CODEC)
    initialize(model, 0)
    optimizer, ema = build_optimizer(model, run.training), Ema(model, 0.9)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moments = [value for state in optimizer.state.values() for name, value in state.items() if name != "step"]
    memory = estimate_memory(run, CODEC)
    assert memory.weights == sum(p.nbytes for p in model.parameters())
    assert memory.gradients == sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    assert memory.moments == sum(value.nbytes for value in moments)
    assert memory.average == sum(value.nbytes for value in ema.state_dict().values())
    assert memory.frozen == 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("pattern", ["delay", "unroll"])
def test_activations_are_what_autograd_saves(precision: str, checkpointing: bool, pattern: str) -> None:
    """Within 3 %: what is left out are ids, masks and scalars."""
    run = small_run({"pattern": {"kind": pattern}}, precision=precision, activation_checkpointing=checkpointing)
    assert count_saved(run, CODEC, 2, 12) == pytest.approx(measure_saved(run, 2, 12), rel=0.03)


@pytest.mark.parametrize("changes", [{"dim": 96, "num_heads": 2}, {"num_layers": 6}])
def test_activations_of_other_sizes(changes: dict[str, object]) -> None:
    run = small_run(changes, segment_sec=2.0)
    assert count_saved(run, CODEC, 3, 5) == pytest.approx(measure_saved(run, 3, 5), rel=0.03)


def measure_saved(run: RunConfig, batch: int, num_words: int) -> int:
    """Bytes of all storages that autograd keeps of one forward pass and loss, but for the weights' own."""
    model = build_model(run.model, run.conditioner, CODEC)
    initialize(model, 0)
    objective = Objective(model)
    distribute(objective, model.transformer.layers, WORLD, run.training)
    frames = count_segment_frames(run.training.segment_sec, CODEC)
    codes_BKT = torch.randint(0, CODEC.card, (batch, CODEC.num_codebooks, frames))
    sequence_BKS, _ = interleave(codes_BKT, model.pattern(frames), model.special, keep_only_valid=True)
    prepared = model.prepare([" ".join(f"w{i}" for i in range(num_words))] * batch)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = tensor
        return tensor

    bf16 = run.training.precision == "bf16"
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else nullcontext(),
    ):
        objective(sequence_BKS, codes_BKT, torch.ones(batch, frames, dtype=torch.bool), prepared, torch.ones(4))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_memory_follows_the_micro_batch_and_the_shards(codec_spec: CodecSpec) -> None:
    run = make_run(model={"size": "small"}, training={"batch_size": 16})
    whole = estimate_memory(run, codec_spec)
    assert whole.state == 20 * whole.num_parameters
    small = estimate_memory(replace(run, training=replace(run.training, micro_batch_size=4)), codec_spec)
    assert small.activations * 4 == pytest.approx(whole.activations, rel=1e-3)
    assert small.state == whole.state
    shared = estimate_memory(run, codec_spec, num_processes=4)
    assert shared.state * 4 == pytest.approx(whole.state, rel=1e-3)  # tables of 65 rows do not divide by 4
    saved = estimate_memory(replace(run, training=replace(run.training, activation_checkpointing=True)), codec_spec)
    assert saved.activations < whole.activations / 5


def test_hybrid_shards_within_a_node_and_frozen_weights_have_no_moments(codec_spec: CodecSpec) -> None:
    run = make_run(model={"size": "small"}, training={"batch_size": 16, "sharding": "hybrid"})
    full, none = (
        replace(run, training=replace(run.training, sharding=kind))  # type: ignore[arg-type]
        for kind in ("full", "none")
    )
    hybrid = estimate_memory(run, codec_spec, 8, processes_per_node=4)
    assert hybrid.state == estimate_memory(full, codec_spec, 4).state > estimate_memory(full, codec_spec, 8).state
    assert estimate_memory(none, codec_spec, 8).state == estimate_memory(none, codec_spec, 1).state
    frozen = replace(run, training=replace(run.training, freeze=("layers 0-22", "embeddings")))
    memory = estimate_memory(frozen, codec_spec)
    assert memory.weights == memory.average == 4 * memory.num_parameters
    assert memory.gradients == 4 * memory.num_trained
    assert memory.moments == 8 * memory.num_trained
    assert memory.num_trained < memory.num_parameters / 10


def test_processes_that_do_not_spread_over_the_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match="--processes 3 do not spread evenly over --nodes 2"):
        plan.run(processes=3, nodes=2)


def test_a_small_gpu_gets_smaller_micro_batches_then_checkpointing_then_nothing(codec_spec: CodecSpec) -> None:
    run = make_run(model={"size": "small"}, training={"batch_size": 12, "segment_sec": 30.0, "precision": "bf16"})
    found = [fit(run, codec_spec, gib * 2**30, 1) for gib in (640, 24, 13, 11, 8)]
    assert [(one.micro_batch_size, one.activation_checkpointing) if one else None for one in found] == [
        (12, False),
        (6, False),
        (1, False),
        (4, True),
        None,
    ]
    assert found[3] is not None
    assert found[3].memory.total <= 0.95 * 10 * 2**30
    sharded = fit(run, codec_spec, 8 * 2**30, 4)
    assert sharded is not None
    assert sharded.num_processes == 4


def test_a_batch_that_does_not_divide_is_refused(codec_spec: CodecSpec) -> None:
    with pytest.raises(ValueError, match="batch_size 12 does not divide by 5 processes"):
        fit(make_run(training={"batch_size": 12}), codec_spec, 2**36, 5)
