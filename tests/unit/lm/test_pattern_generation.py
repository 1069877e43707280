"""Generation with every pattern: the steps' logits are those of teacher forcing, and prompts are continued."""

from typing import Any

import pytest
import torch
from small_models import PATTERNS, make_model

from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.pattern import PatternConfig, UnrollPatternConfig
from musicgen_core.lm import generate as generation
from musicgen_core.lm.generate import generate
from musicgen_core.lm.sampling import sample_codes
from musicgen_core.patterns.apply import interleave

CAPTIONS = ["slow rock", None]
GREEDY = GenerationConfig(temperature=0, cfg_coef=1)
each_pattern = pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.kind)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The logits [B, K, C] of every step that drew something."""
    logits: list[torch.Tensor] = []

    def record(logits_BKC: torch.Tensor, *rest: Any) -> torch.Tensor:
        logits.append(logits_BKC)
        return sample_codes(logits_BKC, *rest)

    monkeypatch.setattr(generation, "sample_codes", record)
    return logits


@torch.no_grad()
@each_pattern
@pytest.mark.parametrize("num_frames", [1, 11])
def test_logits_of_the_steps_are_those_of_teacher_forcing(
    pattern: PatternConfig, num_frames: int, drawn: list[torch.Tensor]
) -> None:
    model = make_model(pattern=pattern)
    codes = generate(model, CAPTIONS, num_frames, GREEDY)
    assert codes.shape == (2, 4, num_frames)
    assert codes.ge(0).all()
    assert codes.lt(model.card).all()
    layout = model.pattern(num_frames)
    sequence, mask_KS = interleave(codes, layout, model.special, keep_only_valid=False)
    logits_BKSC = model(sequence, model.conditioner.prepare(CAPTIONS))
    steps = [step for step in range(1, layout.num_steps) if mask_KS[:, step].any()]
    assert len(drawn) == len(steps)
    for step, logits_BKC in zip(steps, drawn, strict=True):
        torch.testing.assert_close(logits_BKC, logits_BKSC[:, :, step - 1], atol=1e-4, rtol=0)
        holds_K = mask_KS[:, step]
        assert torch.equal(logits_BKSC[:, holds_K, step - 1].argmax(-1), sequence[:, holds_K, step])


@torch.no_grad()
@each_pattern
def test_predictions_are_the_logits_of_the_step_before(pattern: PatternConfig) -> None:
    """From the training sequence, each code's logits equal those that the full sequence has one step before it."""
    model = make_model(pattern=pattern)
    codes = torch.randint(0, model.card, (2, 4, 9), generator=torch.Generator().manual_seed(0))
    predictions = model.compute_predictions(codes, None)
    layout = model.pattern(9)
    logits_BKSC = model(interleave(codes, layout, model.special, keep_only_valid=False)[0], None)
    for k in range(4):
        for t in range(9):
            kept = bool(layout.step_KT[k, t] < layout.num_valid_steps)
            assert predictions.mask_BKT[:, k, t].eq(kept).all()
            found = predictions.logits_BKTC[:, k, t]
            if kept:
                torch.testing.assert_close(found, logits_BKSC[:, k, layout.step_KT[k, t] - 1], atol=1e-5, rtol=0)
            else:
                assert found.isnan().all()


@torch.no_grad()
@each_pattern
@pytest.mark.parametrize("cfg_coef", [1.0, 3.0])
def test_a_prompt_of_its_own_beginning_changes_nothing(pattern: PatternConfig, cfg_coef: float) -> None:
    model, config = make_model(pattern=pattern), GenerationConfig(temperature=0, cfg_coef=cfg_coef)
    codes = generate(model, CAPTIONS, 10, config)
    for num_known in (1, 4, 9):
        continued = generate(model, CAPTIONS, 10, config, prompt_BKT=codes[:, :, :num_known])
        assert torch.equal(continued, codes)


@torch.no_grad()
@each_pattern
def test_a_prompt_stays_and_is_listened_to(pattern: PatternConfig) -> None:
    model = make_model(pattern=pattern)
    prompts = torch.randint(0, model.card, (2, 2, 4, 6), generator=torch.Generator().manual_seed(1))
    a, b = (generate(model, CAPTIONS, 12, GREEDY, prompt_BKT=prompt) for prompt in prompts)
    assert torch.equal(a[:, :, :6], prompts[0])
    assert torch.equal(b[:, :, :6], prompts[1])
    assert not torch.equal(a[:, :, 6:], b[:, :, 6:])


@torch.no_grad()
def test_the_rest_of_a_prompted_sequence_is_the_definition_s() -> None:
    """Whole forward passes over the sequence so far, where the prompt fills every place that it can."""
    for pattern in PATTERNS:
        model = make_model(pattern=pattern)
        prompt = torch.randint(0, model.card, (1, 4, 3), generator=torch.Generator().manual_seed(2))
        known = torch.full((1, 4, 8), -1)
        known[:, :, :3] = prompt
        layout = model.pattern(8)
        sequence, mask_KS = interleave(known, layout, model.special, keep_only_valid=False)
        for step in range(1, layout.num_steps):
            logits = model(sequence[:, :, :step].clamp(min=0), model.conditioner.prepare(["slow rock"]))
            unknown = sequence[:, :, step] == -1
            sequence[:, :, step] = torch.where(unknown, logits[:, :, -1].argmax(-1), sequence[:, :, step])
        expected, _ = interleave(
            generate(model, ["slow rock"], 8, GREEDY, prompt_BKT=prompt), layout, model.special, keep_only_valid=False
        )
        assert torch.equal(sequence[:, mask_KS], expected[:, mask_KS])


def test_progress_counts_every_step() -> None:
    model = make_model(pattern=PATTERNS[2])
    seen: list[tuple[int, int]] = []
    generate(model, ["a"], 5, GREEDY, on_step=lambda done, total: seen.append((done, total)))
    total = model.pattern(5).num_steps - 1
    assert seen == [(step, total) for step in range(1, total + 1)]


def test_prompts_that_do_not_fit() -> None:
    model = make_model()
    codes = torch.zeros(2, 4, 6, dtype=torch.int64)
    for prompt, message in [
        (codes[:1], r"\[1, 4, 6\]; 2 captions, 4 codebooks and 6 frames need \[2, 4, 1 to 5\]"),
        (codes, "1 to 5"),
        (codes[:, :3, :2], r"\[2, 3, 2\]"),
        (codes[:, :, :0], r"\[2, 4, 0\]"),
        (codes[:, :, :2] + model.card, r"codes lie in \[40, 40\], the model's in \[0, 39\]"),
        (codes[:, :, :2] - 1, r"codes lie in \[-1, -1\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            generate(model, CAPTIONS, 6, GREEDY, prompt_BKT=prompt)


def test_a_sequence_too_long_is_refused_with_its_numbers() -> None:
    model = make_model(pattern=UnrollPatternConfig(kind="unroll"))
    message = "20000 frames of 4 codebooks are 80001 steps in the pattern unroll, above the limit of 65536"
    with pytest.raises(ValueError, match=message):
        generate(model, ["a"], 20_000, GREEDY)
    with pytest.raises(ValueError, match=message):
        model.compute_predictions(torch.zeros(1, 4, 20_000, dtype=torch.int64), None)
    assert make_model().pattern(20_000).num_steps == 20_004
