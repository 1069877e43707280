"""What training minimises equals transformers' MusicGen: loss, cross-entropy of each codebook, every gradient."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_models import CODEC, CONDITIONER, MODEL, make_transformers
from torch.nn import functional

from musicgen_core.config.pattern import DelayPatternConfig
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.keymap import to_transformers
from musicgen_core.lm.model import build_model
from musicgen_core.patterns.apply import interleave
from musicgen_core.train.loss import count_valid
from musicgen_core.train.step import Objective

CAPTIONS = ["slow rock with a piano", None, "fast"]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("num_codebooks", "delays"), [(4, (0, 1, 2, 3)), (8, (0, 0, 1, 1, 2, 2, 3, 3))])
def test_loss_and_gradients(num_codebooks: int, delays: tuple[int, ...], masked: bool) -> None:
    """Mono and stereo, words of different lengths and none, their padding masked and seen."""
    codec = replace(CODEC, num_codebooks=num_codebooks)
    config = replace(MODEL, pattern=DelayPatternConfig(delays=delays), mask_condition_padding=masked)
    model = build_model(config, CONDITIONER, codec)
    initialize(model, 0)
    theirs = make_transformers(model, num_codebooks // 4).train()
    codes_BKT = torch.randint(0, codec.card, (3, num_codebooks, 20), generator=torch.Generator().manual_seed(0))
    pattern = model.pattern(20)
    counts_K = count_valid(pattern, np.full(3, 20))

    sequence_BKS, _ = interleave(codes_BKT, pattern, model.special, keep_only_valid=True)
    mask_BT, weights_K = torch.ones(3, 20, dtype=torch.bool), (1 / (counts_K * num_codebooks)).float()
    ours = Objective(model)(sequence_BKS, codes_BKT, mask_BT, model.prepare(CAPTIONS), weights_K)
    ours.total.backward()

    labels_BKT = torch.full_like(codes_BKT, -100)
    for k, delay in enumerate(delays):
        labels_BKT[:, k, delay:] = codes_BKT[:, k, : 20 - delay]
    with torch.no_grad():
        condition = model.conditioner(model.conditioner.prepare(CAPTIONS))
    out = theirs(
        encoder_hidden_states=condition.embeddings_BLD,
        encoder_attention_mask=condition.mask_BL.long() if masked else None,
        labels=labels_BKT.transpose(1, 2).contiguous(),
    )
    out.loss.backward()

    torch.testing.assert_close(ours.total, out.loss, atol=1e-5, rtol=0)
    logits_BKSC = out.logits.view(3, num_codebooks, 20, -1)
    found_K = ours.sums_BK.sum(0) / counts_K
    for k in range(num_codebooks):
        expected = functional.cross_entropy(logits_BKSC[:, k].flatten(0, 1).detach(), labels_BKT[:, k].flatten())
        assert float(found_K[k]) == pytest.approx(float(expected), abs=1e-5)
    gradients = to_transformers({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    compared = 0
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-5, rtol=1e-4)
        compared += 1
    assert compared == len(gradients)
