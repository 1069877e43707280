"""Training on styles: exact, resumable, the same for any micro-batch; what is heard is not in the loss."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audio_corpus import write_audio, write_sung_corpus
from small_hubert import write_hubert
from token_corpus import SPEC, tiny_config, write_corpus

from musicgen_core.conditioners.style import StyleExcerpt
from musicgen_core.config.condition import StyleConditionConfig
from musicgen_core.config.extractor import MelExtractorConfig, PretrainedExtractorConfig
from musicgen_core.config.pattern import ParallelPatternConfig, resolve_pattern
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.data.batches import TokenBatches, TokenDataset
from musicgen_core.data.track_audio import TrackAudio
from musicgen_core.data.tracks import open_tracks
from musicgen_core.lm.model import build_model
from musicgen_core.patterns.layout import build_pattern
from musicgen_core.stages.train import run
from musicgen_core.train.checkpoint import load_best_weights
from musicgen_core.train.loss import count_masked, count_valid
from musicgen_core.train.recordings import Recordings
from musicgen_core.util.atomic import read_jsonl

Corpus = tuple[Path, Path, Path]

MEL = MelExtractorConfig(sample_rate_hz=8000, frame_rate_hz=50, window_samples=512, num_mels=16)
SMALL: dict[str, Any] = {
    "min_sec": 0.2,
    "max_sec": 0.5,
    "eval_sec": 0.3,
    "dim": 16,
    "num_heads": 2,
    "num_layers": 1,
    "num_levels": 3,
    "eval_levels": 2,
    "num_entries": 8,
    "downsample": 5,
    "dropout": 0.3,
}


def style_config(changes: dict[str, Any] | None = None, **training: Any) -> TrainStageConfig:
    values = {"extractor": MEL, **SMALL, **(changes or {})}
    return tiny_config({"conditions": {"style": StyleConditionConfig(kind="style", **values)}}, **training)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("styles")
    folder, index = write_corpus(root, num_frames=80)
    return folder, index, write_audio(root, folder)


def start(corpus: Corpus, run_dir: Path, config: TrainStageConfig) -> list[dict[str, Any]]:
    run(config, manifests=[corpus[0]], indexes=[corpus[1]], audio=[corpus[2]], run_dir=run_dir)
    exact = ("kind", "step", "loss", "loss_per_codebook", "lr", "grad_norm", "samples")
    return [{k: line[k] for k in exact if k in line} for line in read_jsonl(run_dir / "history.jsonl")]


def make_dataset(corpus: Corpus, **options: Any) -> TokenDataset:
    tracks = open_tracks([corpus[0]], [corpus[1]], "train", SPEC)
    values: dict[str, Any] = {"seed": 1, "batch_size": 6, "segment_frames": 50, "min_segment_ratio": 0.3}
    return TokenDataset(tracks, **{**values, **options})


def make_recordings(corpus: Corpus, config: TrainStageConfig) -> Recordings:
    model = build_model(config.model, config.conditioner, config.codec)
    return Recordings(TrackAudio([corpus[2]], SPEC), model, config)


def test_excerpts_depend_on_the_number_of_a_sample_alone(corpus: Corpus) -> None:
    """Read from any sample on, by one process or two: the same excerpts; lengths, places and levels vary."""
    config = style_config()

    def excerpts(first: int, **options: Any) -> list[Any]:
        dataset = make_dataset(corpus, **options)
        dataset.seek(first)
        with TokenBatches(dataset, then=make_recordings(corpus, config).add_to_training) as batches:
            lines = [line for _ in range(4) for line in next(batches).lines]
        return [
            (e.hidden_span_sec, e.num_levels, e.features_TE.tolist()) if (e := line.get("style")) is not None else None
            for line in lines
        ]

    whole = excerpts(0)
    heard = [excerpt for excerpt in whole if excerpt is not None]
    lengths = [end_sec - start_sec for (start_sec, end_sec), _, _ in heard]
    assert len(heard) > 8
    assert all(0.199 < length < 0.501 for length in lengths)
    assert len(set(lengths)) == len({span for span, _, _ in heard}) == len(heard)
    assert {levels for _, levels, _ in heard} == {1, 2, 3}
    assert excerpts(6)[:6] == whole[6:12]
    halves = [excerpts(0, rank=rank, world_size=2) for rank in (0, 1)]
    assert [*halves[0][:3], *halves[1][:3], *halves[0][3:6], *halves[1][3:6]] == whole[:12]


def test_frames_that_are_heard_are_not_in_the_loss(corpus: Corpus) -> None:
    dataset = make_dataset(corpus)
    batches = [make_recordings(corpus, style_config()).add_to_training(dataset.read(first)) for first in (0, 6, 12)]
    heard = 0
    for first, batch in zip((0, 6, 12), batches, strict=True):
        plain = dataset.read(first)
        for row, line in enumerate(batch.lines):
            expected_T = plain.mask_BT[row].clone()
            if isinstance(excerpt := line.get("style"), StyleExcerpt):
                assert excerpt.hidden_span_sec is not None
                begin, end = excerpt.hidden_span_sec
                for frame in range(50):
                    if frame * 0.02 < end - 1e-9 and (frame + 1) * 0.02 > begin + 1e-9:
                        expected_T[frame] = False
                heard += 1
            assert torch.equal(batch.mask_BT[row], expected_T)
    assert heard > 5
    seen = make_recordings(corpus, style_config({"mask_excerpt": False})).add_to_training(dataset.read(0))
    assert torch.equal(seen.mask_BT, dataset.read(0).mask_BT)


def test_counts_of_masks_are_those_of_lengths() -> None:
    pattern = build_pattern(resolve_pattern(tiny_config().model.pattern, SPEC), 4, 20)
    lengths = np.array([20, 7, 1])
    mask_BT = torch.arange(20)[None] < torch.from_numpy(lengths)[:, None]
    assert torch.equal(count_masked(pattern, mask_BT), count_valid(pattern, lengths))
    mask_BT[0, :5] = False
    assert torch.equal(count_masked(pattern, mask_BT), count_valid(pattern, lengths) - 5)


def test_a_run_resumes_and_splits_exactly(corpus: Corpus, tmp_path: Path) -> None:
    options = {"steps": 6, "checkpoint_every_steps": 3, "validate_every_steps": 3}

    def train(name: str, **more: Any) -> list[dict[str, Any]]:
        return start(corpus, tmp_path / name, style_config(**options, **more))

    whole = train("whole")
    weights, _ = load_best_weights(tmp_path / "whole")
    ready = [name for name, value in weights.items() if name.endswith("inited") and value > 0]
    assert len(ready) == 4, "the normalisation and all levels have learnt, and the average has them"
    train("cut")
    (tmp_path / "cut/DONE").unlink()
    (tmp_path / "cut/checkpoints/step-00000006/.metadata").write_bytes(b"")
    assert train("cut") == whole
    for one, other in zip(train("small", micro_batch_size=1), whole, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)


def test_a_frozen_condition_learns_nothing(corpus: Corpus, tmp_path: Path) -> None:
    options = {"steps": 4, "checkpoint_every_steps": 4, "validate_every_steps": 4}
    start(corpus, tmp_path / "frozen", style_config(freeze=("conditioners",), **options))
    weights, _ = load_best_weights(tmp_path / "frozen")
    learnt = {name for name, value in weights.items() if name.endswith(("inited", "running_mean")) and value.any()}
    assert learnt == set()


@pytest.mark.filterwarnings("ignore")  # of transformers' modules
def test_a_model_of_transformers_is_the_extractor(corpus: Corpus, tmp_path: Path) -> None:
    """Its features reach the loss: another hidden state, another loss; and it is in no checkpoint."""
    path = str(write_hubert(tmp_path / "hubert"))

    def train(name: str, layer: int | None) -> list[dict[str, Any]]:
        extractor = PretrainedExtractorConfig(kind="transformers", path=path, layer=layer)
        options = {"steps": 4, "checkpoint_every_steps": 4, "validate_every_steps": 4}
        return start(corpus, tmp_path / name, style_config({"extractor": extractor}, **options))

    last, first = train("last", None), train("first", 0)
    assert last[0]["loss"] == first[0]["loss"], "nothing speaks before the codebooks have learnt"
    assert last[-1]["loss"] != first[-1]["loss"]
    weights, _ = load_best_weights(tmp_path / "last")
    assert not [name for name in weights if "extractor" in name or "conv" in name]


def test_what_the_style_tells_is_learnt(tmp_path: Path) -> None:
    """A track keeps to the 5 codes of its one note: who hears an excerpt knows them from the first frame on."""
    corpus = write_sung_corpus(tmp_path, num_tracks=26, num_frames=40, one_note=True)
    options = {"steps": 300, "validate_every_steps": 300, "checkpoint_every_steps": 300, "log_every_steps": 300}

    def final(model: dict[str, Any], name: str) -> float:
        pattern = ParallelPatternConfig(kind="parallel")
        config = tiny_config(
            {"pattern": pattern, **model}, segment_sec=0.2, learning_rate=5e-3, batch_size=8, cfg_dropout=0.0, **options
        )
        return next(line["loss"] for line in start(corpus, tmp_path / name, config) if line["kind"] == "valid")

    mel = MelExtractorConfig(sample_rate_hz=8000, frame_rate_hz=100, window_samples=512, num_mels=64)
    lengths = {"min_sec": 0.1, "eval_sec": 0.1, "max_sec": 0.15, "downsample": 3, "num_entries": 32, "eval_levels": 3}
    values: dict[str, Any] = {**SMALL, **lengths, "dropout": 0.0, "mask_excerpt": False, "fusion": "sum"}
    style = StyleConditionConfig(kind="style", extractor=mel, **values)
    assert final({"conditions": {"style": style}}, "hearing") < final({}, "deaf") - 0.2
