"""Layers compiled in earnest, by torch's own compiler for this CPU: the same loss and gradients."""

import pytest
import torch
from token_corpus import SPEC, tiny_config
from torch._dynamo.utils import counters

from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import build_model
from musicgen_core.patterns.apply import interleave
from musicgen_core.train.parallel import distribute
from musicgen_core.train.ranks import World
from musicgen_core.train.step import Objective

ALONE = World(0, 1, torch.device("cpu"), None)


def loss_and_gradients(compiled: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    config = tiny_config(compile=compiled)
    model = build_model(config.model, config.conditioner, SPEC)
    initialize(model, 0)
    objective = Objective(model)
    distribute(objective, model.transformer.layers, ALONE, config.training)
    codes_BKT = torch.randint(0, SPEC.card, (2, SPEC.num_codebooks, 30), generator=torch.Generator().manual_seed(0))
    sequence_BKS, _ = interleave(codes_BKT, model.pattern(30), model.special, keep_only_valid=True)
    losses = objective(sequence_BKS, codes_BKT, torch.ones(2, 30).bool(), model.prepare(["some words", None]))
    losses.total.backward()
    return losses.sums_BK, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler's own
def test_compiled_layers_give_the_same_loss_and_gradients() -> None:
    """About 20 s of the C++ compiler the first time; torch keeps what it has made."""
    torch._dynamo.reset()
    counters.clear()
    sums_BK, gradients = loss_and_gradients(compiled=True)
    assert counters["stats"]["unique_graphs"] == 1, "one graph serves both layers"
    assert counters["aot_autograd"]["ok"] == 1
    plain_BK, expected = loss_and_gradients(compiled=False)
    torch.testing.assert_close(sums_BK, plain_BK, atol=1e-3, rtol=1e-5)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, atol=1e-4, rtol=1e-3)
