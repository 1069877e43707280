import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_models import PATTERNS
from token_corpus import SPEC, tiny_config

from musicgen_core.config.pattern import PatternConfig
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import build_model
from musicgen_core.train.loss import count_valid, sum_losses


def test_sums_read_only_what_is_valid_and_give_finite_gradients() -> None:
    torch.manual_seed(0)
    mask_BKT = torch.rand(2, 3, 5) < 0.6
    codes_BKT = torch.where(mask_BKT, torch.randint(0, 7, (2, 3, 5)), 7)
    logits_BKTC = torch.randn(2, 3, 5, 7, requires_grad=True)
    sums_BK = sum_losses(logits_BKTC.masked_fill(~mask_BKT[..., None], float("nan")), codes_BKT, mask_BKT)
    for b in range(2):
        for k in range(3):
            m = mask_BKT[b, k]
            expected = F.cross_entropy(logits_BKTC[b, k][m], codes_BKT[b, k][m], reduction="sum")
            torch.testing.assert_close(sums_BK[b, k], expected)
    sums_BK.sum().backward()
    assert torch.isfinite(logits_BKTC.grad).all()


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.kind)
def test_counts_are_those_of_the_model_s_own_mask(pattern: PatternConfig) -> None:
    config = tiny_config({"pattern": pattern})
    model = build_model(config.model, config.conditioner, SPEC)
    initialize(model, 0)
    num_valid_B = np.array([12, 0, 3, 7])
    mask_BT = torch.arange(12)[None] < torch.from_numpy(num_valid_B)[:, None]
    predictions = model.compute_predictions(torch.zeros(4, 4, 12, dtype=torch.int64), None)
    expected_K = (predictions.mask_BKT & mask_BT[:, None]).sum((0, 2)).double().clamp(min=1)
    assert torch.equal(count_valid(model.pattern(12), num_valid_B), expected_K)
