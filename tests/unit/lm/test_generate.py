import pytest
import torch
from small_models import make_model

from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.lm.generate import draw_uniforms, generate
from musicgen_core.lm.model import LanguageModel
from musicgen_core.lm.sampling import guide, sample_codes
from musicgen_core.patterns.apply import deinterleave, interleave

CONFIG = GenerationConfig(top_k=20, seed=5)
CAPTIONS = ["slow rock", None, "a fast techno track with drums"]


@torch.no_grad()
def generate_slowly(
    model: LanguageModel, captions: list[str | None], num_frames: int, config: GenerationConfig
) -> torch.Tensor:
    """The definition: whole forward passes, conditional and unconditional apart, no cache."""
    pattern = model.pattern(num_frames)
    empty = torch.full((len(captions), model.num_codebooks, num_frames), model.special)
    sequence, mask_KS = interleave(empty, pattern, model.special, keep_only_valid=False)
    uniforms = draw_uniforms(config.seed, 0, sequence.shape, torch.device("cpu"))
    for step in range(1, pattern.num_steps):
        conditional = model(sequence[:, :, :step], model.conditioner.prepare(captions))
        logits = guide(conditional, model(sequence[:, :, :step], None), config.cfg_coef)
        codes = sample_codes(logits[:, :, -1], uniforms[step], config)
        sequence[:, :, step] = torch.where(mask_KS[:, step], codes, model.special)
    return deinterleave(sequence, pattern, model.special)[0]


@pytest.mark.parametrize("config", [CONFIG, GenerationConfig(cfg_coef=1), GenerationConfig(top_p=0.8, temperature=1.3)])
@pytest.mark.parametrize("mask_condition_padding", [True, False])
def test_equals_the_definition(config: GenerationConfig, mask_condition_padding: bool) -> None:
    model = make_model(mask_condition_padding=mask_condition_padding)
    codes = generate(model, CAPTIONS, 15, config)
    assert codes.shape == (3, 4, 15)
    assert codes.dtype == torch.int64
    assert codes.ge(0).all()
    assert codes.lt(model.card).all()
    assert torch.equal(codes, generate_slowly(model, CAPTIONS, 15, config))


def test_a_sample_depends_on_seed_and_number_alone(model: LanguageModel) -> None:
    together = generate(model, CAPTIONS, 10, CONFIG)
    for number, caption in enumerate(CAPTIONS):
        assert torch.equal(generate(model, [caption], 10, CONFIG, first_sample=number)[0], together[number])
    twice = generate(model, ["slow rock", "slow rock"], 10, CONFIG)
    assert not torch.equal(twice[0], twice[1])
    assert torch.equal(twice[0], together[0])
    other = generate(model, CAPTIONS, 10, GenerationConfig(top_k=20, seed=6))
    assert not torch.equal(other, together)


def test_draws_do_not_depend_on_the_length(model: LanguageModel) -> None:
    short, long = generate(model, CAPTIONS, 8, CONFIG), generate(model, CAPTIONS, 14, CONFIG)
    assert torch.equal(short[:, 0], long[:, 0, :8])
    assert torch.equal(short[:, 3, :5], long[:, 3, :5])


def test_the_caption_changes_the_codes_and_its_absence_is_unconditional(model: LanguageModel) -> None:
    codes = generate(model, CAPTIONS, 10, CONFIG)
    assert torch.equal(codes[1:2], generate(model, [None], 10, CONFIG, first_sample=1))
    assert not torch.equal(codes[0], generate(model, ["quiet flute"], 10, CONFIG)[0])
    ignored = GenerationConfig(top_k=20, seed=5, cfg_coef=0)
    assert torch.equal(generate(model, CAPTIONS, 10, ignored), generate(model, [None] * 3, 10, CONFIG))


def test_progress_and_interruption(model: LanguageModel) -> None:
    seen: list[tuple[int, int]] = []
    model.train()
    try:
        generate(model, ["a"], 5, CONFIG, on_step=lambda done, total: seen.append((done, total)))
        assert seen == [(step, 8) for step in range(1, 9)]

        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            generate(model, ["a"], 5, CONFIG, on_step=stop)
        assert model.training
    finally:
        model.eval()


def test_errors(model: LanguageModel) -> None:
    with pytest.raises(ValueError, match="0 captions"):
        generate(model, [], 5, CONFIG)
    with pytest.raises(ValueError, match="at least 1 frame, got 0"):
        generate(model, ["a"], 0, CONFIG)
    with pytest.raises(ValueError, match=r"temperature is -1"):
        generate(model, ["a"], 5, GenerationConfig(temperature=-1))
