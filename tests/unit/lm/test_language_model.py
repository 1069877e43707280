import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_models import CODEC, CONDITIONER, make_model, random_condition, random_sequence

from musicgen_core.config.model import ModelConfig, T5ConditionerConfig
from musicgen_core.config.pattern import DelayPatternConfig
from musicgen_core.lm.block import positions
from musicgen_core.lm.cache import Cache
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model

MUSICGEN_CODEC = replace(CODEC, num_codebooks=4, card=2048)


@pytest.mark.parametrize(
    ("size", "num_codebooks", "count"),
    [
        ("small", 4, 420_371_456),
        ("medium", 4, 1_838_737_920),
        ("large", 4, 3_256_956_928),
        ("small", 8, 437_152_768),
        ("medium", 8, 1_863_909_888),
        ("large", 8, 3_290_519_552),
    ],
)
def test_parameter_counts_are_the_references(tmp_path: Path, size: str, num_codebooks: int, count: int) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"d_model": 768}))
    model = build_model(
        ModelConfig(size=size),
        T5ConditionerConfig(kind="t5", path=str(tmp_path)),
        replace(MUSICGEN_CODEC, num_codebooks=num_codebooks),
        device="meta",
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_parameter_names_are_audiocrafts() -> None:
    layer = [
        *("self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"),
        *("cross_attention.in_proj_weight", "cross_attention.out_proj.weight"),
        *(f"{norm}.{part}" for norm in ("norm1", "norm2", "norm_cross") for part in ("weight", "bias")),
    ]
    description = "condition_provider.conditioners.description"
    expected = {
        *(f"emb.{k}.weight" for k in range(4)),
        *(f"linears.{k}.weight" for k in range(4)),
        *(f"transformer.layers.{i}.{name}" for i in range(3) for name in layer),
        *("out_norm.weight", "out_norm.bias"),
        *(f"{description}.{name}" for name in ("embed.weight", "output_proj.weight", "output_proj.bias")),
    }
    state = make_model().state_dict()
    assert set(state) == expected
    assert state["emb.0.weight"].shape == (41, 64)
    assert state["linears.0.weight"].shape == (40, 64)
    assert state["transformer.layers.0.cross_attention.in_proj_weight"].shape == (192, 64)


def test_positions() -> None:
    """Vectors of the reference (section 8), and exactness under bfloat16."""
    table = positions(0, 3, 8, torch.device("cpu"))
    expected = [
        [1, 1, 1, 1, 0, 0, 0, 0],
        [0.540302, 0.998923, 0.999998, 1, 0.841471, 0.046399, 0.002154, 0.0001],
        [-0.416147, 0.995694, 0.999991, 1, 0.909297, 0.092698, 0.004309, 0.0002],
    ]
    torch.testing.assert_close(table, torch.tensor(expected), atol=1e-6, rtol=0)
    assert torch.equal(positions(2, 1, 8, torch.device("cpu")), table[2:])
    late = positions(1500, 1, 64, torch.device("cpu"))
    assert late.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(positions(1500, 1, 64, torch.device("cpu")), late)


@torch.no_grad()
def test_null_conditions_add_exactly_nothing(model: LanguageModel) -> None:
    """None, a batch of null captions, and a null row beside a real one are all unconditional, to the bit."""
    sequence = random_sequence(model, 2, 9)
    unconditional = model(sequence, None)
    for mask_condition_padding in (True, False):
        other = make_model(mask_condition_padding=mask_condition_padding)
        assert torch.equal(other(sequence, other.conditioner.prepare([None, None])), unconditional)
        mixed = other(sequence, other.conditioner.prepare([None, "slow rock ballad"]))
        assert torch.equal(mixed[0], unconditional[0])
        assert (mixed[1] - unconditional[1]).abs().max() > 1e-3


@torch.no_grad()
def test_another_caption_changes_the_logits(model: LanguageModel) -> None:
    sequence = random_sequence(model, 1, 9)
    one, two = (model(sequence, model.conditioner.prepare([caption])) for caption in ("slow rock", "fast techno"))
    assert (one - two).abs().max() > 1e-3


@torch.no_grad()
def test_masked_padding_makes_a_row_independent_of_its_batch(model: LanguageModel) -> None:
    sequence = random_sequence(model, 1, 9)
    alone = model(sequence, model.conditioner.prepare(["slow rock"]))
    padded = model(sequence.repeat(2, 1, 1), model.conditioner.prepare(["slow rock", "a b c d e f"]))
    torch.testing.assert_close(padded[:1], alone, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("chunks", [[1] * 12, [5, 1, 1, 5], [12], [3, 9]])
@pytest.mark.parametrize("lengths", [[4, 2], [0, 3]])
def test_streaming_equals_the_whole_forward(model: LanguageModel, chunks: list[int], lengths: list[int]) -> None:
    sequence, condition = random_sequence(model, 2, 12), random_condition(model, lengths)
    cache = Cache(len(model.transformer.layers), max_steps=12)
    pieces = [model(chunk, condition, cache) for chunk in sequence.split(chunks, dim=2)]
    torch.testing.assert_close(torch.cat(pieces, dim=2), model(sequence, condition), atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_future_is_not_seen(model: LanguageModel) -> None:
    sequence = random_sequence(model, 1, 10)
    changed = sequence.clone()
    changed[:, :, 6:] = (changed[:, :, 6:] + 1) % model.card
    assert torch.equal(model(sequence, None)[:, :, :6], model(changed, None)[:, :, :6])


def test_gradients_are_finite_with_null_rows_and_poisoned_positions() -> None:
    model = make_model().train()
    codes = random_sequence(model, 3, 8)  # includes padding, id = card
    predictions = model.compute_predictions(codes, model.conditioner.prepare([None, "slow rock", "fast"]))
    predictions.logits_BKTC[predictions.mask_BKT].logsumexp(-1).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_mismatch_with_the_codec_is_named() -> None:
    with pytest.raises(ValueError, match=r"model\.num_codebooks is 8, but codec test has 4; set .* 4 or null"):
        build_model(ModelConfig(num_codebooks=8), CONDITIONER, CODEC)
    with pytest.raises(ValueError, match=r"model\.card is 2048, but codec test has 40"):
        build_model(ModelConfig(card=2048), CONDITIONER, CODEC)
    with pytest.raises(ValueError, match="2 delays for 4 codebooks"):
        build_model(ModelConfig(pattern=DelayPatternConfig(delays=(0, 1))), CONDITIONER, CODEC)
    with pytest.raises(ValueError, match=r"model\.dim 65 .* model\.num_heads 4"):
        build_model(ModelConfig(dim=65), CONDITIONER, CODEC)


def test_forgotten_weights_show() -> None:
    model = build_model(ModelConfig(), CONDITIONER, CODEC)
    assert all(parameter.isnan().all() for parameter in model.parameters())
    initialize(model, 0)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
