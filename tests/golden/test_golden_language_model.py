"""The demo-sized model's numbers, committed: a change that should not move them shows here.

After a change that should, run this file by python to rewrite the numbers, and say why in the CHANGELOG.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from musicgen_core import native
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.model import LutConditionerConfig, ModelConfig
from musicgen_core.lm.generate import generate
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import build_model

GOLDEN = Path(__file__).with_name("language_model.json")
CODEC = CodecSpec(
    name="made_up", digest="0" * 32, sample_rate_hz=16000, num_channels=1, num_codebooks=4, card=256, hop_samples=320
)
CAPTIONS = ["slow rock ballad in c# minor", None]


def compute() -> dict[str, list]:
    model = build_model(ModelConfig(size="tiny"), LutConditionerConfig(), CODEC)
    initialize(model, seed=2036)
    model.eval()
    draws = native.uniform(1, 99, 0, np.arange(2 * 4 * 50, dtype=np.int64))
    codes = torch.from_numpy((draws * CODEC.card).astype(np.int64)).view(2, 4, 50)
    with torch.no_grad():
        predictions = model.compute_predictions(codes, model.conditioner.prepare(CAPTIONS))
    losses = [
        functional.cross_entropy(predictions.logits_BKTC[:, k][mask], codes[:, k][mask]).item()
        for k, mask in enumerate(predictions.mask_BKT.unbind(1))
    ]
    return {
        "loss_per_codebook": losses,
        "greedy": generate(model, CAPTIONS, 8, GenerationConfig(temperature=0)).tolist(),
        "sampled": generate(model, CAPTIONS, 8, GenerationConfig(seed=7)).tolist(),
    }


def test_numbers_have_not_moved() -> None:
    golden, found = json.loads(GOLDEN.read_text()), compute()
    assert found["loss_per_codebook"] == pytest.approx(golden["loss_per_codebook"], abs=1e-5)
    assert found["greedy"] == golden["greedy"]
    assert found["sampled"] == golden["sampled"]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(compute()) + "\n")
