import numpy as np
import pytest
import torch

from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.lm.sampling import guide, keep_top_k, keep_top_p, sample_codes

LOGITS = torch.tensor([0.1, 0.4, 0.2, 0.05, 0.2, 0.05]).log()[None, None]


def draw_all(config: GenerationConfig, num: int = 20_000) -> torch.Tensor:
    """Frequencies over evenly spaced uniforms."""
    uniforms = (torch.arange(num, dtype=torch.float64) / num)[:, None]
    codes = sample_codes(LOGITS.expand(num, 1, -1), uniforms, config)
    return codes.flatten().bincount(minlength=6) / num


def test_plain_sampling_follows_the_distribution() -> None:
    frequencies = draw_all(GenerationConfig(top_k=0))
    torch.testing.assert_close(frequencies, LOGITS.exp().flatten(), atol=2e-4, rtol=0)


def test_top_k_keeps_ties() -> None:
    """The second and third likeliest tie: k = 2 keeps both."""
    expected = torch.tensor([0, 0.5, 0.25, 0, 0.25, 0])
    torch.testing.assert_close(draw_all(GenerationConfig(top_k=2)), expected, atol=2e-4, rtol=0)
    torch.testing.assert_close(draw_all(GenerationConfig(top_k=3)), expected, atol=2e-4, rtol=0)
    assert draw_all(GenerationConfig(top_k=1)).tolist() == [0, 1, 0, 0, 0, 0]
    torch.testing.assert_close(draw_all(GenerationConfig(top_k=250)), LOGITS.exp().flatten(), atol=2e-4, rtol=0)


def test_top_p_drops_what_starts_beyond_the_mass() -> None:
    kept = keep_top_p(torch.tensor([0.5, 0.25, 0.15, 0.1]), 0.5)
    assert kept.tolist() == pytest.approx([0.5, 0.25, 0, 0])  # mass before the second is not more than p
    assert keep_top_p(torch.tensor([0.5, 0.25, 0.15, 0.1]), 0.49).count_nonzero() == 1
    assert keep_top_k(torch.tensor([0.5, 0.25, 0.25]), 2).count_nonzero() == 3


def test_top_p_wins_over_top_k() -> None:
    assert draw_all(GenerationConfig(top_k=1, top_p=0.7)).count_nonzero() == 3


def test_temperature() -> None:
    assert draw_all(GenerationConfig(temperature=0, top_k=0)).tolist() == [0, 1, 0, 0, 0, 0]
    hot, plain = draw_all(GenerationConfig(temperature=5, top_k=0)), draw_all(GenerationConfig(top_k=0))
    assert hot.std() < plain.std()


def test_the_largest_uniform_stays_inside() -> None:
    last = torch.tensor([[np.nextafter(1.0, 0.0)]])
    logits = torch.full((1, 1, 2048), -50.0)
    logits[..., :3] = 0
    for config in (GenerationConfig(top_k=3), GenerationConfig(top_k=0, top_p=0.5)):
        assert sample_codes(logits, last, config).item() in (0, 1, 2)


def test_guidance() -> None:
    conditional, unconditional = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 3.0])
    assert torch.equal(guide(conditional, unconditional, 1), conditional)
    assert torch.equal(guide(conditional, unconditional, 0), unconditional)
    assert guide(conditional, unconditional, 3).tolist() == [2.0, 0.0]
