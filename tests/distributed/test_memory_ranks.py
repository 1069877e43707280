"""The memory plan's state against real tensors: a small model's step on 1, 2 and 4 processes, counted to the byte."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from token_corpus import SPEC
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from musicgen_core.config.load import parse_config, resolve_runs
from musicgen_core.config.root import RunConfig
from musicgen_core.flow.memory import estimate_memory
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import build_model
from musicgen_core.patterns.apply import interleave
from musicgen_core.train.ema import Ema
from musicgen_core.train.freeze import freeze
from musicgen_core.train.optim import build_optimizer
from musicgen_core.train.parallel import average_gradients, distribute, is_sharded
from musicgen_core.train.ranks import World, open_world
from musicgen_core.train.step import Objective

OPTIMIZERS = ("adamw", "lion", "dadapt_adam", "muon")
FROZEN = (["layers 0-0", "norms", "emb.1.*"], ["attention", "conditioners"])
CASES = [*({"optimizer": {"kind": kind}} for kind in OPTIMIZERS), *({"freeze": names} for names in FROZEN)]
CASES += [{"optimizer": {"kind": "muon"}, "freeze": FROZEN[1]}]


def make_run(sharding: str, training: dict[str, Any]) -> RunConfig:
    raw = {
        "corpora": {"mine": {"path": "music"}},
        "model": {"dim": 36, "num_heads": 2, "num_layers": 2, "conditions": {"key": {"kind": "attribute", "dim": 5}}},
        "conditioner": {"num_bins": 33, "dim": 7},
        "training": {"device": "cpu", "sharding": sharding, "batch_size": 4, **training},
    }
    return resolve_runs(parse_config(raw))["base"]


def count_bytes(run: RunConfig, world: World) -> dict[str, int]:
    """Of the tensors on this process when a step is done, but for scalars: an optimizer's counters of steps."""
    model = build_model(run.model, run.conditioner, SPEC)
    initialize(model, 0)
    freeze(model, run.training.freeze)
    objective = Objective(model)
    distribute(objective, model.transformer.layers, world, run.training)
    optimizer, ema = build_optimizer(model, run.training), Ema(model, 0.9)
    codes_BKT = torch.randint(0, SPEC.card, (1, SPEC.num_codebooks, 9))
    sequence_BKS, _ = interleave(codes_BKT, model.pattern(9), model.special, keep_only_valid=True)
    prepared = model.prepare([{"description": "some words", "key": "C major"}])
    objective(sequence_BKS, codes_BKT, torch.ones(1, 9, dtype=torch.bool), prepared).total.backward()
    if world.size > 1 and not is_sharded(world, run.training):
        average_gradients(objective)
    optimizer.step()
    ema.update()
    parameters: list[nn.Parameter] = list(model.parameters())
    moments = [one for state in optimizer.state.values() for one in state.values() if torch.is_tensor(one) and one.ndim]
    return {
        "weights": add_up(parameters),
        "gradients": add_up(p.grad for p in parameters if p.grad is not None),
        "moments": add_up(moments),
        "average": add_up(ema.state_dict().values()),
    }


def add_up(tensors: Iterable[Tensor]) -> int:
    return sum((t.to_local() if isinstance(t, DTensor) else t).nbytes for t in tensors)


def count_all(sharding: str, folder: Path) -> None:
    with open_world("cpu", 1) as world:
        found = [count_bytes(make_run(sharding, case), world) for case in CASES]
        (folder / f"{world.rank}.json").write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("size", "sharding", "per_node"),
    [(1, "full", 1), (2, "full", 2), (4, "full", 4), (2, "none", 2), (4, "hybrid", 2), (4, "hybrid", 1)],
)
def test_state_is_that_of_the_tensors_of_every_process(size: int, sharding: str, per_node: int, tmp_path: Path) -> None:
    codes = run_ranks(size, count_all, (sharding, tmp_path), tmp_path / "log", per_node)
    assert codes == [0] * size, (tmp_path / "log.0").read_text()
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(size)]
    for number, case in enumerate(CASES):
        memory = estimate_memory(make_run(sharding, case), SPEC, size, processes_per_node=per_node)
        for part in ("weights", "gradients", "moments", "average"):
            assert getattr(memory, part) == max(one[number][part] for one in found), (case, part)
