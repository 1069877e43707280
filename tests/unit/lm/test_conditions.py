"""Every condition changes the logits when it changes, and equals the unconditional model when it is null."""

from dataclasses import replace

import pytest
import torch
from small_models import CODEC, CONDITIONER, MODEL, make_model, random_sequence

from musicgen_core.config.condition import (
    AttributeConditionConfig,
    ChromaConditionConfig,
    Fusion,
    NumberConditionConfig,
)
from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.lm.generate import generate
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model

FUSIONS: list[Fusion] = ["cross", "prepend", "sum", "input_interpolate"]


def make_conditioned(fusion: Fusion) -> LanguageModel:
    conditions = {
        "key": AttributeConditionConfig(kind="attribute", fusion=fusion),
        "bpm": NumberConditionConfig(kind="number", fusion=fusion),
        "self_wav": ChromaConditionConfig(kind="chroma", fusion=fusion, num_frames=6),
    }
    words = replace(CONDITIONER, fusion=fusion)
    model = build_model(replace(MODEL, conditions=conditions), words, CODEC)
    initialize(model, 0)
    return model.eval()


FULL = {"description": "slow rock", "key": "a minor", "bpm": 120.0, "self_wav": torch.eye(12)[:6]}
OTHER = {"description": "fast techno", "key": "c major", "bpm": 90, "self_wav": torch.eye(12)[6:]}


@torch.no_grad()
@pytest.mark.parametrize("fusion", FUSIONS)
def test_sensitivity(fusion: Fusion) -> None:
    model = make_conditioned(fusion)
    sequence = random_sequence(model, 1, 9)

    def logits(row: object) -> torch.Tensor:
        return model(sequence, model.prepare([row]))  # type: ignore[list-item]

    full, nothing = logits(FULL), logits(None)
    for name in FULL:
        assert (logits({**FULL, name: OTHER[name]}) - full).abs().max() > 1e-3, name
        alone = logits({name: FULL[name]})
        assert (alone - nothing).abs().max() > 1e-3, name
        torch.testing.assert_close(logits(dict.fromkeys(FULL)), nothing)
    torch.testing.assert_close(model(sequence, None), nothing, atol=1e-5, rtol=0)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_cached_step_equals_the_full_forward(fusion: Fusion) -> None:
    """Greedy codes of generation are those that teacher forcing predicts from them."""
    model = make_conditioned(fusion)
    codes = generate(model, [FULL, None], 8, GenerationConfig(temperature=0, cfg_coef=1.0))
    with torch.no_grad():
        predictions = model.compute_predictions(codes, model.prepare([FULL, None]))
    mask = predictions.mask_BKT
    assert torch.equal(predictions.logits_BKTC.argmax(-1)[mask], codes[mask])
    assert mask.sum() > 40


@pytest.mark.parametrize("fusion", ["cross", "sum", "input_interpolate"])
def test_guidance_follows_the_condition(fusion: Fusion) -> None:
    """(With `prepend` the words' padding shows: a longer caption beside it moves every code by a position.)"""
    model = make_conditioned(fusion)
    config = GenerationConfig(temperature=0, cfg_coef=3.0)
    first, second, free = generate(model, [FULL, OTHER, None], 12, config)
    assert not torch.equal(first, second)
    torch.testing.assert_close(free, generate(model, [None], 12, config)[0])


def test_parameters_are_made_for_what_is_there() -> None:
    names = set(make_conditioned("prepend").state_dict())
    assert not [name for name in names if "cross" in name], "without a condition for it there is no cross-attention"
    assert "condition_provider.conditioners.self_wav.output_proj.weight" in names
    assert make_model().state_dict().keys() < make_conditioned("cross").state_dict().keys()


def test_unknown_conditions_are_named(model: LanguageModel) -> None:
    with pytest.raises(ValueError, match=r"not conditioned on tempo, but on \['description'\]"):
        model.prepare([{"description": "rock", "tempo": 3}])


@torch.no_grad()
@pytest.mark.parametrize("fusion", ["cross", "sum", "input_interpolate"])
def test_double_guidance_weighs_words_against_the_rest(fusion: Fusion) -> None:
    """Against whole forward passes and the formula, step by step."""
    model = make_conditioned(fusion)
    config = GenerationConfig(temperature=0, cfg_coef=2.0, cfg_coef_beta=4.0)
    codes = generate(model, [FULL], 6, config)
    rest = {**FULL, "description": None}
    full, without, nothing = (
        model.compute_predictions(codes, model.prepare([row])).logits_BKTC for row in (FULL, rest, None)
    )
    logits = nothing + 2.0 * (without + 4.0 * (full - without) - nothing)
    mask = model.compute_predictions(codes, None).mask_BKT
    assert torch.equal(logits.argmax(-1)[mask], codes[mask])
    plain = generate(model, [FULL], 6, replace(config, cfg_coef_beta=None))
    assert torch.equal(generate(model, [FULL], 6, replace(config, cfg_coef_beta=1.0)), plain)
    assert not torch.equal(codes, plain)


def test_double_guidance_needs_more_than_words(model: LanguageModel) -> None:
    with pytest.raises(
        ValueError, match=r"cfg_coef_beta is 3\.0, but the model is conditioned on words alone: leave it"
    ):
        generate(model, ["rock"], 4, GenerationConfig(cfg_coef_beta=3.0))
