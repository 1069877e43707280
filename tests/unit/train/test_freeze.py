"""What is frozen does not move, and nothing else stands still."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from token_corpus import SPEC, tiny_config

from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model
from musicgen_core.train.checkpoint import load_best_weights
from musicgen_core.train.freeze import freeze
from musicgen_core.train.ranks import Refused

Train = Callable[..., list[dict[str, Any]]]


def make_model() -> LanguageModel:
    config = tiny_config()
    model = build_model(config.model, config.conditioner, SPEC)
    initialize(model, config.seed)
    return model


def frozen_names(*patterns: str) -> set[str]:
    model = make_model()
    left = freeze(model, patterns)
    assert left == sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {name for name, p in model.named_parameters() if not p.requires_grad}


@pytest.mark.parametrize(
    ("pattern", "among", "not_among", "count"),
    [
        ("embeddings", "emb.3.weight", "linears.0.weight", 4),
        ("heads", "linears.0.weight", "transformer.layers.0.linear1.weight", 4),
        ("norms", "transformer.layers.1.norm_cross.bias", "linears.0.weight", 14),
        ("conditioners", "condition_provider.conditioners.description.output_proj.bias", "emb.0.weight", 3),
        ("attention", "transformer.layers.0.self_attn.in_proj_weight", "out_norm.bias", 4),
        ("cross_attention", "transformer.layers.1.cross_attention.out_proj.weight", "out_norm.bias", 4),
        ("feed_forward", "transformer.layers.1.linear2.weight", "linears.1.weight", 4),
        ("layers 0-0", "transformer.layers.0.norm1.weight", "transformer.layers.1.norm1.weight", 12),
        ("layers 1", "transformer.layers.1.norm1.weight", "transformer.layers.0.norm1.weight", 12),
        ("transformer.layers.*.norm1.*", "transformer.layers.1.norm1.bias", "transformer.layers.1.norm2.bias", 4),
    ],
)
def test_groups_and_patterns(pattern: str, among: str, not_among: str, count: int) -> None:
    names = frozen_names(pattern)
    assert among in names
    assert not_among not in names
    assert len(names) == count


def test_what_matches_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="`embedings` matches no parameter; did you mean `embeddings`"):
        frozen_names("heads", "embedings")
    with pytest.raises(ValueError, match="`layers 7-9` matches no parameter: there are layers 0-1"):
        frozen_names("layers 7-9")
    with pytest.raises(ValueError, match="every parameter is frozen"):
        frozen_names("*")


def test_frozen_weights_stay_and_the_others_move(
    tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(steps=6, freeze=("embeddings", "layers 0", "conditioners"), checkpoint_every_steps=3)
    whole = train(tmp_path / "whole", config)
    model = make_model()
    left = freeze(model, config.training.freeze)
    assert f"{left / 1e6:.2f} M of them trained ({left:,})" in capsys.readouterr().err
    weights, _ = load_best_weights(tmp_path / "whole")
    for name, parameter in model.named_parameters():
        assert torch.equal(weights[name], parameter.detach()) == (not parameter.requires_grad), name
    train(tmp_path / "cut", config)
    (tmp_path / "cut/DONE").unlink()
    (tmp_path / "cut/checkpoints/step-00000006/manifest.json").write_text("{")
    assert train(tmp_path / "cut", config) == whole


def test_a_run_with_a_wrong_pattern_is_refused(tmp_path: Path, train: Train) -> None:
    with pytest.raises(ValueError, match=r"training\.freeze: `nothing\.\*` matches no parameter"):
        train(tmp_path, tiny_config(freeze=("nothing.*",)))
    assert issubclass(Refused, ValueError)
