"""Training with every pattern: it learns, and its loss is the definition's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slow_patterns import slow_interleave, slow_layout, valid_length
from small_models import PATTERNS
from token_corpus import SPEC, tiny_config, write_corpus
from torch.nn import functional

from musicgen_core.config.pattern import DelayPatternConfig, PatternConfig, UnrollPatternConfig
from musicgen_core.data.batches import Batch, TokenBatches, TokenDataset, valid_batches
from musicgen_core.data.tracks import open_tracks
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import LanguageModel, build_model
from musicgen_core.patterns.layout import build_pattern
from musicgen_core.stages.train import run
from musicgen_core.train.ranks import Refused
from musicgen_core.util.atomic import read_jsonl

Train = Callable[..., list[dict[str, Any]]]
SEGMENT = 25


@pytest.fixture(scope="module")
def short_tracks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tracks of 20 frames and a few more, so that segments of 25 are padded by different numbers."""
    return write_corpus(tmp_path_factory.mktemp("short"), num_frames=20)


@torch.no_grad()
def slow_losses(model: LanguageModel, batch: Batch) -> list[float]:
    """Mean cross-entropy of each codebook over the whole batch, one code at a time."""
    codes = batch.codes_BKT.numpy()
    num_codebooks, num_frames = codes.shape[1:]
    steps = slow_layout(model.config.pattern, num_codebooks, num_frames)
    num_steps = valid_length(steps, num_frames)
    sequence, _ = slow_interleave(codes, steps, num_steps, model.special)
    logits = model(torch.from_numpy(sequence), model.conditioner.prepare(batch.captions))
    found: list[list[float]] = [[] for _ in range(num_codebooks)]
    for s, step in enumerate(steps[:num_steps]):
        for t, k in step:
            for b in range(len(codes)):
                if t < num_frames and batch.mask_BT[b, t]:
                    target = torch.tensor(codes[b, k, t])
                    found[k].append(functional.cross_entropy(logits[b, k, s - 1], target).item())
    return [float(np.mean(losses)) for losses in found]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.kind)
def test_loss_is_the_definition_s_and_falls(
    pattern: PatternConfig, short_tracks: tuple[Path, Path], tmp_path: Path
) -> None:
    manifest, index = short_tracks
    options = {"segment_sec": SEGMENT / 50, "cfg_dropout": 0.0, "steps": 12, "min_segment_ratio": 0.1}
    config = tiny_config({"pattern": pattern}, **options)
    run(config, manifests=[manifest], indexes=[index], run_dir=tmp_path / "whole")
    lines = [line for line in read_jsonl(tmp_path / "whole/history.jsonl") if line["kind"] == "train"]
    model = build_model(config.model, config.conditioner, SPEC)
    initialize(model, config.seed)
    tracks = open_tracks([manifest], [index], "train", SPEC)
    dataset = TokenDataset(tracks, seed=config.seed, batch_size=4, segment_frames=SEGMENT, min_segment_ratio=0.1)
    batch = next(iter(dataset))
    assert not batch.mask_BT.all()
    assert lines[0]["loss_per_codebook"] == pytest.approx(slow_losses(model, batch), abs=1e-5)
    assert lines[0]["loss"] == pytest.approx(np.mean(lines[0]["loss_per_codebook"]))
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.02

    small = tiny_config({"pattern": pattern}, **options, micro_batch_size=1)
    run(small, manifests=[manifest], indexes=[index], run_dir=tmp_path / "parts")
    parts = [line for line in read_jsonl(tmp_path / "parts/history.jsonl") if line["kind"] == "train"]
    for a, b in zip(parts, lines, strict=True):
        assert a["loss_per_codebook"] == pytest.approx(b["loss_per_codebook"], abs=1e-5)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-4)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.kind)
def test_loaders_lay_codes_out(pattern: PatternConfig, short_tracks: tuple[Path, Path]) -> None:
    tracks = open_tracks([short_tracks[0]], [short_tracks[1]], "train", SPEC)
    config = build_model(tiny_config({"pattern": pattern}).model, tiny_config().conditioner, SPEC, "meta").config
    layout = build_pattern(config.pattern, 4, SEGMENT)
    options: dict[str, Any] = {"segment_frames": SEGMENT, "min_segment_ratio": 0.1, "pattern": layout}
    with TokenBatches(TokenDataset(tracks, seed=1, batch_size=4, **options)) as batches:
        found = [
            next(batches),
            *next(batches).split(3),
            *valid_batches(tracks, num_segments=5, batch_size=2, **options),
        ]
    steps = slow_layout(config.pattern, 4, SEGMENT)
    for batch in found:
        expected, _ = slow_interleave(batch.codes_BKT.numpy(), steps, layout.num_valid_steps, SPEC.card)
        assert batch.sequence_BKS is not None
        assert batch.sequence_BKS.dtype == torch.int64
        np.testing.assert_array_equal(batch.sequence_BKS, expected)


def test_segments_too_short_for_the_delays_are_refused(tmp_path: Path, train: Train) -> None:
    late = tiny_config({"pattern": DelayPatternConfig(delays=(0, 1, 50, 60))})
    message = r"50 frames \(training\.segment_sec 1\) .* pattern delay: codebooks 2, 3 would never be predicted"
    with pytest.raises(Refused, match=message):
        train(tmp_path, late)
    assert not (tmp_path / "config.json").exists()


def test_segments_too_long_are_refused(tmp_path: Path, train: Train) -> None:
    long = tiny_config({"pattern": UnrollPatternConfig(kind="unroll")}, segment_sec=400.0)
    with pytest.raises(ValueError, match="20000 frames of 4 codebooks are 80001 steps in the pattern unroll"):
        train(tmp_path, long)
