"""Scoring: masks, weights and wrong captions."""

import numpy as np
import pytest
import torch

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.model import LutConditionerConfig, ModelConfig
from musicgen_core.eval.token_loss import score_model, token_nll, wrong_captions
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model


@pytest.fixture
def model(codec_spec: CodecSpec) -> LanguageModel:
    built = build_model(
        ModelConfig(dim=32, num_heads=2, num_layers=2), LutConditionerConfig(num_bins=64, dim=8), codec_spec
    )
    initialize(built, seed=0)
    return built


def make_codes(lengths: list[int]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 64, size=(4, length)) for length in lengths]


def test_masked_positions_cost_nothing_even_when_nan() -> None:
    logits = torch.zeros(1, 2, 2, 5)
    mask = torch.tensor([[[True, True], [True, False]]])
    logits[0, 1, 1] = float("nan")
    nll = token_nll(logits, torch.zeros(1, 2, 2, dtype=torch.long), mask)
    expected = float(np.log(5))
    torch.testing.assert_close(nll, torch.tensor([[[expected, expected], [expected, 0.0]]]))


def test_batches_do_not_change_the_scores(model: LanguageModel) -> None:
    codes, captions = make_codes([20, 31, 20, 31, 20]), ["a", None, "b c", "a", "d"]
    together, masks = score_model(model, codes, captions, batch_size=3)
    alone, _ = score_model(model, codes, captions, batch_size=1)
    np.testing.assert_allclose(together.nll_GK, alone.nll_GK, rtol=1e-5)
    # the pattern lets codebook k predict all but its last k frames
    assert together.num_GK.tolist() == [[length - k for k in range(4)] for length in (20, 31, 20, 31, 20)]
    assert [mask.shape for mask in masks] == [(4, 20), (4, 31), (4, 20), (4, 31), (4, 20)]
    assert masks[0].sum(axis=1).tolist() == [20, 19, 18, 17]


def test_hidden_frames_are_not_counted(model: LanguageModel) -> None:
    codes, captions = make_codes([20, 31, 20]), ["a", None, "b c"]
    hidden = [np.arange(length) // 5 == 1 for length in (20, 31, 20)]
    whole, masks = score_model(model, codes, captions, batch_size=3)
    scores, left = score_model(model, codes, captions, batch_size=3, hidden=hidden)
    assert (whole.num_GK - scores.num_GK == 5).all()
    for before, after, away in zip(masks, left, hidden, strict=True):
        assert (after == before & ~away).all()
    none, _ = score_model(model, codes, captions, batch_size=3, hidden=[~away for away in hidden])
    np.testing.assert_allclose(scores.nll_GK + none.nll_GK, whole.nll_GK, rtol=1e-5)


def test_captions_reach_the_model(model: LanguageModel) -> None:
    codes = make_codes([20])
    first, _ = score_model(model, codes, ["calm piano"], batch_size=1)
    second, _ = score_model(model, codes, ["fast drums"], batch_size=1)
    assert first.mean != second.mean


def test_wrong_captions_are_never_right() -> None:
    captions = ["a", "b", "c", None, "a", "b"]
    for seed in range(10):
        wrong = wrong_captions(captions, list("uvwxyz"), seed)
        assert wrong == wrong_captions(captions, list("uvwxyz"), seed)
        assert wrong[3] is None
        assert all(x != y for x, y in zip(captions, wrong, strict=True) if x is not None)
        assert set(wrong) <= set(captions)


def test_one_caption_cannot_be_exchanged() -> None:
    with pytest.raises(ValueError, match="1 different captions, but at least 2"):
        wrong_captions(["a", "a"], ["x", "y"], 0)
