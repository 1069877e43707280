"""Each conditioner by each fusion: another value moves the logits, no value gives the unconditional ones.

Style has a test of its own; test_conditions.py has models with several conditions at once.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_clap import write_clap
from small_models import CODEC, CONDITIONER, MODEL, random_sequence
from small_t5 import write_t5

from musicgen_core.conditioners.clap import ClapConditioner
from musicgen_core.config.condition import (
    AttributeConditionConfig,
    ChromaConditionConfig,
    ClapConditionConfig,
    Fusion,
    NumberConditionConfig,
)
from musicgen_core.config.model import T5ConditionerConfig
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of transformers' modules

FUSIONS: list[Fusion] = ["cross", "prepend", "sum", "input_interpolate"]
TUNES = torch.eye(12)[:6], torch.eye(12)[6:]
SOUNDS = tuple(torch.nn.functional.normalize(torch.randn(2, 16, generator=torch.Generator().manual_seed(3)), dim=1))

# what is conditioned on: two values
VALUES: dict[str, tuple[Any, Any]] = {
    "table of words": ("slow rock", "fast techno"),
    "t5": ("slow rock", "fast techno"),
    "t5 with cached states": ("slow rock", "fast techno"),
    "attribute": ("a minor", "c major"),
    "number": (120.0, 90),
    "chroma": TUNES,
    "chroma, silence for none": TUNES,
    "clap": SOUNDS,
    "clap, asked with words": ("slow rock", "fast techno"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {"t5": write_t5(tmp_path_factory.mktemp("t5")), "clap": write_clap(tmp_path_factory.mktemp("clap"))}


def build(kind: str, fusion: Fusion, folders: dict[str, Path]) -> tuple[LanguageModel, str]:
    """-> (model, name of the condition). Words that are not what is looked at enter by cross-attention."""
    words: Any = CONDITIONER
    conditions: dict[str, Any] = {}
    if kind == "table of words":
        words = replace(CONDITIONER, fusion=fusion)
    elif kind.startswith("t5"):
        cache_mb = 1 if "cached" in kind else 0
        words = T5ConditionerConfig(kind="t5", path=str(folders["t5"]), fusion=fusion, cache_mb=cache_mb)
    elif kind == "attribute":
        conditions["it"] = AttributeConditionConfig(kind="attribute", fusion=fusion)
    elif kind == "number":
        conditions["it"] = NumberConditionConfig(kind="number", fusion=fusion)
    elif kind.startswith("chroma"):
        absent: Any = "silence" if "silence" in kind else "null"
        conditions["it"] = ChromaConditionConfig(kind="chroma", fusion=fusion, num_frames=6, absent=absent)
    else:
        path = str(folders["clap"])
        conditions["it"] = ClapConditionConfig(kind="clap", path=path, fusion=fusion, num_levels=2, num_entries=4)
    model = build_model(replace(MODEL, conditions=conditions), words, CODEC)
    initialize(model, 0)
    for conditioner in model.conditioners.values():
        if isinstance(conditioner, ClapConditioner):
            for step in range(3):  # its codebooks hold what they have seen
                conditioner(conditioner.prepare(VALUES[kind]))
                conditioner.learn(step, lambda sums: sums)
    return model.eval(), "it" if conditions else "description"


@torch.no_grad()
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("kind", VALUES)
def test_sensitivity(kind: str, fusion: Fusion, folders: dict[str, Path]) -> None:
    model, name = build(kind, fusion, folders)
    sequence = random_sequence(model, 1, 9)

    def logits(value: Any) -> torch.Tensor:
        return model(sequence, model.prepare([{name: value}]))

    one, other, none = (logits(value) for value in (*VALUES[kind], None))
    assert (one - other).abs().max() > 1e-3
    torch.testing.assert_close(none, model(sequence, None), atol=1e-5, rtol=0)
    assert (one - none).abs().max() > 1e-3
    if "silence" not in kind:  # the null condition is no value of the projection: it does not move with it
        model.conditioners[name].output_proj.weight.mul_(3)
        assert torch.equal(logits(None), none)
        assert (logits(VALUES[kind][0]) - one).abs().max() > 1e-3
