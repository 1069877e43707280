"""Style: an excerpt of a recording, through a narrow residual quantiser."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_models import CODEC, CONDITIONER, MODEL, random_sequence
from torch.nn import functional

from musicgen_core.conditioners.encoder import Encoder
from musicgen_core.conditioners.recording import Recording
from musicgen_core.conditioners.running_norm import RunningNorm
from musicgen_core.conditioners.style import StyleConditioner, StyleExcerpt
from musicgen_core.config.condition import Fusion, StyleConditionConfig
from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.extractor import MelExtractorConfig
from musicgen_core.lm.generate import generate
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model

RATE_HZ = 16000
MEL = MelExtractorConfig(sample_rate_hz=8000, frame_rate_hz=100, window_samples=256, num_mels=16)
STYLE = StyleConditionConfig(
    kind="style",
    extractor=MEL,
    min_sec=0.2,
    max_sec=0.5,
    eval_sec=0.3,
    dim=32,
    num_heads=2,
    num_layers=2,
    num_levels=3,
    eval_levels=2,
    num_entries=16,
    downsample=5,
)


def make_conditioner(**changes: Any) -> StyleConditioner:
    torch.manual_seed(0)
    return StyleConditioner(replace(STYLE, **changes), 6)


def noise(seconds: float, seed: int = 0, num_channels: int = 1) -> Recording:
    random = np.random.default_rng(seed)
    shape = (num_channels, round(seconds * RATE_HZ))
    return Recording((0.1 * random.standard_normal(shape)).astype(np.float32), RATE_HZ)


def tone(frequency_hz: float, seconds: float = 1.0) -> Recording:
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return Recording((0.3 * np.sin(2 * np.pi * frequency_hz * times))[None].astype(np.float32), RATE_HZ)


def test_its_size_is_musicgen_style_s() -> None:
    """To the unit, with features as wide as MERT's; 8, 15 and 23 positions for 1.5, 3 and 4.5 s."""
    with torch.device("meta"):
        config = StyleConditionConfig(kind="style", extractor=MelExtractorConfig(num_mels=768))
        conditioner = StyleConditioner(config, 1536)
    assert sum(parameter.numel() for parameter in conditioner.parameters()) == 26_363_904
    assert conditioner.null_length == 23
    extractor = conditioner.extractor
    assert [-(-extractor.count_frames(round(s * 24000)) // 15) for s in (1.5, 3, 4.5)] == [8, 15, 23]


@pytest.mark.parametrize(
    ("u_length", "u_start", "u_levels"), [(0.0, 0.0, 0.0), (0.5, 0.25, 0.4), (0.999, 0.999, 0.999)]
)
def test_draws_decide_length_place_and_levels(u_length: float, u_start: float, u_levels: float) -> None:
    conditioner, recording = make_conditioner(), noise(2.0)
    excerpt = conditioner.take(recording, [u_length, u_start, u_levels])
    assert excerpt is not None
    assert excerpt.hidden_span_sec is not None
    start_sec, end_sec = excerpt.hidden_span_sec
    assert end_sec - start_sec == pytest.approx(0.2 + u_length * 0.3, abs=1e-4)
    assert start_sec == pytest.approx(u_start * (2.0 - (end_sec - start_sec)), abs=1e-4)
    assert excerpt.num_levels == 1 + int(3 * u_levels)
    part = Recording(recording.wav_CN[:, round(start_sec * RATE_HZ) : round(end_sec * RATE_HZ)], RATE_HZ)
    alone = make_conditioner(eval_sec=0.5).take(part)
    assert alone is not None
    assert torch.equal(excerpt.features_TE, alone.features_TE), "nothing outside the excerpt is heard"


def test_without_draws_it_is_the_middle_and_the_levels_of_evaluation() -> None:
    excerpt = make_conditioner().take(noise(1.0))
    assert excerpt is not None
    assert excerpt.hidden_span_sec == pytest.approx((0.35, 0.65))
    assert excerpt.num_levels == 2
    open_one = make_conditioner(mask_excerpt=False).take(noise(1.0))
    assert open_one is not None
    assert open_one.hidden_span_sec is None


def test_padding_and_channels() -> None:
    conditioner, whole = make_conditioner(), noise(0.6)
    padded = Recording(np.pad(whole.wav_CN, ((0, 0), (0, 5000))), RATE_HZ, num_valid=whole.wav_CN.shape[1])
    stereo = Recording(np.repeat(whole.wav_CN, 2, axis=0), RATE_HZ)
    first = conditioner.take(whole)
    assert first is not None
    for other in (conditioner.take(padded), conditioner.take(stereo)):
        assert other is not None
        torch.testing.assert_close(other.features_TE, first.features_TE)


def test_silence_and_too_little_music_are_no_style() -> None:
    conditioner = make_conditioner()
    silent = Recording(np.zeros((1, RATE_HZ), np.float32), RATE_HZ)
    assert conditioner.take(silent) is None
    assert conditioner.take(noise(0.1), [0.5, 0.5, 0.5]) is None
    prepared = conditioner.prepare([silent, None])
    assert not prepared.mask_BL.any()
    assert "is silent in its middle 0.3 s" in str(conditioner.find_fault(silent))
    assert "lasts 0.10 s, but a style needs 0.2 s" in str(conditioner.find_fault(noise(0.1)))
    assert conditioner.find_fault(noise(0.25)) is None


def test_a_condition_does_not_depend_on_its_neighbours() -> None:
    """Alone, beside a longer excerpt, beside none: the same vectors; a null row is exact zeros, as `null` is."""
    conditioner = make_conditioner()
    values = [conditioner.take(noise(1.0, seed), [u, 0.5, 0.9]) for seed, u in ((0, 0.0), (1, 0.99))]
    learn(conditioner, values)
    conditioner.eval()
    together = conditioner(conditioner.prepare([*values, None]))
    assert together.embeddings_BLD.shape == (3, conditioner.null_length, 6)
    assert together.mask_BL.sum(1).tolist() == [-(-18 // 5), -(-48 // 5), 0]
    for row, value in enumerate([*values, None]):
        alone = conditioner(conditioner.prepare([value]))
        torch.testing.assert_close(alone.embeddings_BLD[0], together.embeddings_BLD[row])
        assert torch.equal(alone.mask_BL[0], together.mask_BL[row])
    null = conditioner.null(1)
    assert torch.equal(null.embeddings_BLD[0], together.embeddings_BLD[2])
    assert not together.embeddings_BLD[2].any()


def learn(conditioner: StyleConditioner, values: list[StyleExcerpt | None], num_steps: int = 6) -> None:
    conditioner.train()
    for step in range(num_steps):
        conditioner(conditioner.prepare(values))
        conditioner.learn(step, lambda sums: sums)


def test_the_first_levels_speak() -> None:
    """Against the codebooks, one frame after the other."""
    conditioner = make_conditioner(downsample=1, num_layers=0)
    values = [conditioner.take(noise(1.0, seed), [0.3, 0.5, level]) for seed, level in ((0, 0.0), (1, 0.5), (2, 0.9))]
    learn(conditioner, [replace(value, num_levels=3) for value in values if value is not None])
    conditioner.eval()
    prepared = conditioner.prepare(values)
    assert prepared.features_BLE is not None
    found = conditioner.encode(prepared)
    for row, num_levels in enumerate((1, 2, 3)):
        x_TD = conditioner.norm(conditioner.input_proj(prepared.features_BLE[row : row + 1]), prepared.mask_BL[:1])[0]
        for frame in range(5):
            rest, total = x_TD[frame], torch.zeros(32)
            for codebook in conditioner.quantizer.codebooks[:num_levels]:
                entry = codebook.embed[(rest - codebook.embed).square().sum(1).argmin()]
                rest, total = rest - entry, total + entry
            torch.testing.assert_close(found[row, frame], total, atol=1e-5, rtol=1e-4)


def test_a_level_learns_from_those_who_use_it() -> None:
    conditioner = make_conditioner()
    value = conditioner.take(noise(1.0), [0.5, 0.5, 0.4])
    assert value is not None
    assert value.num_levels == 2
    learn(conditioner, [value, None])
    assert [bool(book.inited) for book in conditioner.quantizer.codebooks] == [True, True, False]
    silent = make_conditioner()
    learn(silent, [None, None])
    assert not silent.norm.is_ready(), "samples without a style teach nothing"


def test_gradients_reach_projection_encoder_and_features() -> None:
    conditioner = make_conditioner(encoder_dropout=0.1)
    values = [conditioner.take(noise(1.0, seed), [0.5, 0.5, 0.9]) for seed in range(3)]
    learn(conditioner, values)
    condition = conditioner(conditioner.prepare(values))
    condition.embeddings_BLD.square().sum().backward()
    assert [name for name, p in conditioner.named_parameters() if p.grad is None or not p.grad.any()] == []
    first, again = (conditioner.encoder(torch.ones(1, 4, 32), torch.ones(1, 4, dtype=torch.bool)) for _ in range(2))
    assert not torch.equal(first, again), "dropout, when it is asked for"


def test_the_encoder_is_a_pre_norm_transformer() -> None:
    """Against torch's own layer with the same weights; padding is not seen."""
    torch.manual_seed(1)
    encoder = Encoder(8, 2, 1, 0.0).eval()
    (layer,) = encoder.layers
    theirs = torch.nn.TransformerEncoderLayer(
        8, 2, 32, 0.0, functional.gelu, batch_first=True, norm_first=True, bias=False
    ).eval()
    state = {
        "self_attn.in_proj_weight": layer.in_proj.weight,
        "self_attn.out_proj.weight": layer.out_proj.weight,
        "linear1.weight": layer.linear1.weight,
        "linear2.weight": layer.linear2.weight,
        "norm1.weight": layer.norm1.weight,
        "norm2.weight": layer.norm2.weight,
    }
    theirs.load_state_dict(state)
    x_BTD, mask_BT = torch.randn(2, 5, 8), torch.arange(5)[None] < torch.tensor([[5], [3]])
    half = torch.arange(4) / 3
    phase = torch.arange(5)[:, None] / 10000**half
    places = torch.cat([phase.cos(), phase.sin()], dim=1)
    expected = theirs(x_BTD + places, src_key_padding_mask=~mask_BT)
    torch.testing.assert_close(encoder(x_BTD, mask_BT)[mask_BT], expected[mask_BT], atol=1e-5, rtol=1e-4)
    other = x_BTD.masked_fill(~mask_BT[..., None], 7.0)
    torch.testing.assert_close(encoder(other, mask_BT)[mask_BT], encoder(x_BTD, mask_BT)[mask_BT])


def test_running_norm_is_batch_norm_of_all_that_was_seen() -> None:
    """Against torch's BatchNorm1d, which sees in one piece what comes here in two, beside rows that do not count."""
    theirs, ours = torch.nn.BatchNorm1d(3, affine=False), RunningNorm(3)
    theirs.momentum = None  # the first step counts fully
    generator = torch.Generator().manual_seed(0)
    for step in range(3):
        x_MD = torch.randn(10, 3, generator=generator) * 2 + 1
        if step == 1:
            theirs.momentum = 0.1
        theirs.train()(x_MD)
        for part in x_MD.split([4, 6]):
            padded = torch.cat([part, torch.full((2, 3), 99.0)])[None]
            ours.train()(padded, torch.arange(len(part) + 2)[None] < len(part))
        ours.learn(lambda sums: sums)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=0.12, atol=0)  # torch's is divided by M - 1
    x_MD = torch.randn(4, 3, generator=generator)
    expected = (x_MD - ours.running_mean) / (ours.running_var + 1e-5).sqrt()
    torch.testing.assert_close(ours.eval()(x_MD[None], torch.ones(1, 4, dtype=torch.bool))[0], expected)
    before = ours.running_mean.clone()
    ours.learn(lambda sums: sums)
    assert torch.equal(ours.running_mean, before), "nothing seen in evaluation teaches"


def make_conditioned(fusion: Fusion) -> LanguageModel:
    conditions = {"style": replace(STYLE, fusion=fusion)}
    model = build_model(replace(MODEL, conditions=conditions), replace(CONDITIONER, fusion=fusion), CODEC)
    initialize(model, 0)
    sequence = random_sequence(model, 1, 9).expand(3, -1, -1)
    rows = [{"style": tone(frequency_hz)} for frequency_hz in (300, 900, 2500)]
    for step in range(6):  # of training, so that the codebooks hold something
        model(sequence, model.prepare(rows))
        for conditioner in model.conditioners.values():
            conditioner.learn(step, lambda sums: sums)
    return model.eval()


@torch.no_grad()
@pytest.mark.parametrize("fusion", ["prepend", "cross", "sum", "input_interpolate"])
def test_sensitivity(fusion: Fusion) -> None:
    model = make_conditioned(fusion)
    sequence = random_sequence(model, 1, 9)

    def logits(row: object) -> torch.Tensor:
        return model(sequence, model.prepare([row]))  # type: ignore[list-item]

    one, other = (logits({"style": tone(frequency_hz)}) for frequency_hz in (300, 2500))
    nothing = logits(None)
    assert (one - other).abs().max() > 1e-3
    assert (one - nothing).abs().max() > 1e-3
    torch.testing.assert_close(logits({"style": None}), nothing)
    torch.testing.assert_close(model(sequence, None), nothing, atol=1e-5, rtol=0)
    silent = Recording(np.zeros((1, RATE_HZ), np.float32), RATE_HZ)
    torch.testing.assert_close(logits({"style": silent}), nothing)


@torch.no_grad()
def test_double_guidance_weighs_words_against_the_style() -> None:
    """Against whole forward passes and the formula."""
    model = make_conditioned("cross")
    full = {"description": "slow rock", "style": tone(900)}
    config = GenerationConfig(temperature=0, cfg_coef=2.0, cfg_coef_beta=4.0)
    codes = generate(model, [full], 6, config)
    rows: list[Any] = [full, {**full, "description": None}, None]
    both, style, nothing = (model.compute_predictions(codes, model.prepare([row])).logits_BKTC for row in rows)
    logits = nothing + 2.0 * (style + 4.0 * (both - style) - nothing)
    mask = model.compute_predictions(codes, None).mask_BKT
    assert torch.equal(logits.argmax(-1)[mask], codes[mask])
    assert not torch.equal(codes, generate(model, [full], 6, replace(config, cfg_coef_beta=1.0)))
