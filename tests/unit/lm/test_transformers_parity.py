"""Logits, loss and greedy codes equal transformers' MusicgenForCausalLM on shared random weights."""

from dataclasses import replace

import pytest
import torch
from small_models import CODEC, CONDITIONER, MODEL, make_model, make_transformers, random_condition, random_sequence
from torch.nn import functional

from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.pattern import DelayPatternConfig
from musicgen_core.lm.block import positions
from musicgen_core.lm.generate import generate
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.interchange import decoder_config
from musicgen_core.lm.keymap import to_transformers
from musicgen_core.lm.model import LanguageModel, build_model

TOLERANCE = {"atol": 1e-4, "rtol": 0}


@torch.no_grad()
def run_transformers(model: LanguageModel, sequence: torch.Tensor, **condition: torch.Tensor) -> torch.Tensor:
    """Logits in our layout [B, K, S, C]."""
    logits = make_transformers(model)(input_ids=sequence.flatten(0, 1), **condition).logits
    return logits.view(sequence.shape[0], model.num_codebooks, sequence.shape[2], -1)


@torch.no_grad()
def test_self_attention_alone(model: LanguageModel) -> None:
    sequence = random_sequence(model, 2, 50)
    torch.testing.assert_close(model(sequence, None), run_transformers(model, sequence), **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("lengths", [[5, 5, 5], [3, 7, 1], [0, 4, 2], [0, 0, 0]])
def test_cross_attention_with_padding_masked(model: LanguageModel, lengths: list[int]) -> None:
    sequence, condition = random_sequence(model, 3, 40), random_condition(model, lengths)
    expected = run_transformers(
        model,
        sequence,
        encoder_hidden_states=condition.embeddings_BLD,
        encoder_attention_mask=condition.mask_BL.long(),
    )
    torch.testing.assert_close(model(sequence, condition), expected, **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("lengths", [[5, 5, 5], [3, 7, 1], [0, 4, 2]])
def test_cross_attention_with_padding_seen(lengths: list[int]) -> None:
    model = make_model(mask_condition_padding=False)
    sequence, condition = random_sequence(model, 3, 40), random_condition(model, lengths)
    expected = run_transformers(model, sequence, encoder_hidden_states=condition.embeddings_BLD)
    torch.testing.assert_close(model(sequence, condition), expected, **TOLERANCE)


@torch.no_grad()
def test_the_two_ways_to_treat_padding_differ(model: LanguageModel) -> None:
    sequence, condition = random_sequence(model, 2, 10), random_condition(model, [1, 8])
    seen = make_model(mask_condition_padding=False)(sequence, condition)
    assert (model(sequence, condition)[0] - seen[0]).abs().max() > 1e-3
    torch.testing.assert_close(model(sequence, condition)[1], seen[1])


@torch.no_grad()
def test_long_sequences() -> None:
    """30 s at 50 Hz, where float32 positions could drift apart."""
    model = make_model(num_layers=2)
    sequence, condition = random_sequence(model, 1, 1501), random_condition(model, [6])
    expected = run_transformers(model, sequence, encoder_hidden_states=condition.embeddings_BLD)
    torch.testing.assert_close(model(sequence, condition), expected, **TOLERANCE)


@torch.no_grad()
def test_loss(model: LanguageModel) -> None:
    """Labels for transformers are delayed codes without the start column, -100 where there is no code."""
    codes = random_sequence(model, 2, 12) % model.card
    predictions = model.compute_predictions(codes, None)
    ours = torch.stack(
        [
            functional.cross_entropy(predictions.logits_BKTC[:, k][mask], codes[:, k][mask])
            for k, mask in enumerate(predictions.mask_BKT.unbind(1))
        ]
    ).mean()
    labels = torch.full((2, 4, 12), -100)
    for k in range(4):
        labels[:, k, k:] = codes[:, k, : 12 - k]
    theirs = make_transformers(model)(input_ids=None, labels=labels.transpose(1, 2)).loss
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert predictions.mask_BKT[0].sum(-1).tolist() == [12, 11, 10, 9]


@pytest.mark.parametrize(
    ("num_codebooks", "delays", "audio_channels"), [(4, None, 1), (8, (0, 0, 1, 1, 2, 2, 3, 3), 2)]
)
@pytest.mark.parametrize("cfg_coef", [1.0, 3.0])
def test_greedy_codes(num_codebooks: int, delays: tuple[int, ...] | None, audio_channels: int, cfg_coef: float) -> None:
    model = make_model(num_codebooks, pattern=DelayPatternConfig(delays=delays))
    num_frames, captions = 20, ["slow rock", "a fast techno track"]
    config = GenerationConfig(temperature=0, cfg_coef=cfg_coef)
    ours = generate(model, captions, num_frames, config)

    guided = cfg_coef != 1
    rows = [*captions, *([None] * len(captions) if guided else [])]
    with torch.no_grad():
        condition = model.conditioner(model.conditioner.prepare(rows))
    theirs = make_transformers(model, audio_channels).generate(
        inputs=torch.full((len(captions) * num_codebooks, 1), CODEC.card),
        attention_mask=torch.ones(len(captions), 1, dtype=torch.long),
        encoder_hidden_states=condition.embeddings_BLD,
        encoder_attention_mask=condition.mask_BL.long(),
        guidance_scale=cfg_coef,
        do_sample=False,
        max_length=num_frames + 4,
        num_return_sequences=1,  # transformers 5.23 leaves it at None here
        use_cache=False,  # and would keep self- and cross-attention in one cache
    )
    assert torch.equal(ours, theirs)


@torch.no_grad()
@pytest.mark.parametrize("lengths", [[6, 6], [2, 6]])
@pytest.mark.parametrize("num_codebooks", [4, 8])
def test_prefix(lengths: list[int], num_codebooks: int) -> None:
    """Melody models prepend; padding in the prefix is seen, as zeros, and takes positions."""
    from transformers import MusicgenMelodyForCausalLM

    codec = replace(CODEC, num_codebooks=num_codebooks, interleaved=num_codebooks == 8, num_channels=num_codebooks // 4)
    model = build_model(MODEL, replace(CONDITIONER, fusion="prepend"), codec)
    initialize(model, 0)
    theirs = MusicgenMelodyForCausalLM(decoder_config(model, melody=True)).eval()
    theirs.load_state_dict(to_transformers(model.state_dict()))
    sequence, condition = random_sequence(model, 2, 25), random_condition(model, lengths)
    expected = theirs(input_ids=sequence.flatten(0, 1), encoder_hidden_states=condition.embeddings_BLD).logits
    expected = expected.view(2, num_codebooks, 31, -1)[:, :, 6:]
    torch.testing.assert_close(model.eval()(sequence, condition), expected, **TOLERANCE)


@torch.no_grad()
def test_positions_stay_exact_in_16_bit() -> None:
    """bfloat16 positions would be wrong by 0.17 on average; rounding them once costs 0.002."""
    exact = positions(1400, 100, 64, torch.device("cpu"))
    model = make_model()
    rounded = exact.bfloat16().float()
    assert (rounded - exact).abs().mean() < 3e-3
    sequence = random_sequence(model, 1, 1501)
    expected = model(sequence, None)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(sequence, None).float()
    assert (found - expected)[:, :, -100:].abs().mean() < 2 * (found - expected)[:, :, :100].abs().mean()
