"""Training on melodies: each sample hears the audio of exactly its own segment, and nothing but its number decides."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audio_corpus import write_audio, write_sung_corpus
from small_clap import write_clap
from token_corpus import SPEC, tiny_config, write_corpus

from musicgen_core import native
from musicgen_core.conditioners.chroma import SegmentChroma, compute_chroma
from musicgen_core.conditioners.recording import Recording
from musicgen_core.conditioners.rows import training_rows
from musicgen_core.config.condition import ChromaConditionConfig, ClapConditionConfig
from musicgen_core.config.pattern import ParallelPatternConfig
from musicgen_core.config.root import TrainStageConfig
from musicgen_core.data.batches import Batch, TokenBatches, TokenDataset, valid_batches
from musicgen_core.data.shard_read import read_members
from musicgen_core.data.track_audio import TrackAudio
from musicgen_core.data.tracks import open_tracks
from musicgen_core.lm.model import build_model
from musicgen_core.stages.train import run
from musicgen_core.train.checkpoint import load_best_weights
from musicgen_core.train.ranks import Refused
from musicgen_core.train.recordings import Recordings
from musicgen_core.util.atomic import read_jsonl

Corpus = tuple[Path, Path, Path]

CHROMA = ChromaConditionConfig(kind="chroma", sample_rate_hz=16000, radix2_exp=11, num_frames=32, dropout=0.4)


def melody_config(chroma: ChromaConditionConfig = CHROMA, **training: Any) -> TrainStageConfig:
    return tiny_config({"conditions": {"self_wav": chroma}}, **training)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("melodies")
    folder, index = write_corpus(root, num_frames=80)
    return folder, index, write_audio(root, folder)


def start(corpus: Corpus, run_dir: Path, config: TrainStageConfig) -> list[dict[str, Any]]:
    run(config, manifests=[corpus[0]], indexes=[corpus[1]], audio=[corpus[2]], run_dir=run_dir)
    exact = ("kind", "step", "loss", "loss_per_codebook", "lr", "grad_norm", "samples")
    return [{k: line[k] for k in exact if k in line} for line in read_jsonl(run_dir / "history.jsonl")]


def make_recordings(corpus: Corpus, config: TrainStageConfig, audio: TrackAudio | None = None) -> Recordings:
    model = build_model(config.model, config.conditioner, config.codec)
    return Recordings(audio or TrackAudio([corpus[2]], SPEC), model, config)


def make_dataset(corpus: Corpus, **options: Any) -> TokenDataset:
    tracks = open_tracks([corpus[0]], [corpus[1]], "train", SPEC)
    values: dict[str, Any] = {"seed": 1, "batch_size": 6, "segment_frames": 50, "min_segment_ratio": 0.3}
    return TokenDataset(tracks, **{**values, **options})


def rows_of(batch: Batch, config: TrainStageConfig) -> list[Any]:
    t = config.training
    return training_rows(
        batch.lines, config.model.conditions, t.words, t.cfg_dropout, config.seed, batch.epochs_B, batch.indexes_B
    )


def test_a_sample_hears_its_own_segment(corpus: Corpus) -> None:
    """Against the whole decode, cut, padded and analysed one by one; dropped samples hear nothing."""
    config = melody_config()
    wholes = {name.removesuffix(".flac"): native.decode(data)[0] for name, data in read_members(corpus[2])}
    recordings, dataset = make_recordings(corpus, config), make_dataset(corpus)
    heard = padded = 0
    for first in range(0, 60, 6):
        batch = recordings.add_to_training(dataset.read(first))
        for line, row, begin in zip(batch.lines, rows_of(batch, config), batch.starts_B.tolist(), strict=True):
            if row is None or row["self_wav"] is None:
                assert "self_wav" not in line, "what is dropped is not read"
                continue
            heard += 1
            wav_CN = wholes[line["track"]][:, begin * 320 : (begin + 50) * 320]
            num_valid = wav_CN.shape[1]
            full_CN = np.pad(wav_CN, ((0, 0), (0, 50 * 320 - num_valid)))
            expected = compute_chroma(Recording(full_CN, 16000), CHROMA)[: -(-num_valid // 512)]
            assert isinstance(row["self_wav"], SegmentChroma)
            assert torch.equal(row["self_wav"].chroma_LP, expected)
            padded += num_valid < 50 * 320
    assert heard > 15
    assert padded > 3


def test_the_chroma_is_that_of_the_notes(corpus: Corpus) -> None:
    """An independent look: the loudest class in the middle of a note is the note that was played."""
    from audio_corpus import NOTE_SEC, notes_of

    config = melody_config(cfg_dropout=0.0)
    batch = make_recordings(corpus, config).add_to_training(make_dataset(corpus).read(0))
    checked = 0
    for line, begin in zip(batch.lines, batch.starts_B.tolist(), strict=True):
        if "self_wav" in line:
            notes = notes_of(line["track"], line["num_samples"])
            for place, chroma_P in enumerate(line["self_wav"].chroma_LP):
                position = (begin * 320 + place * 512) / 16000 / NOTE_SEC
                if 0.4 < position % 1 < 0.6 and 3 < place < len(line["self_wav"].chroma_LP) - 3:
                    assert int(chroma_P.argmax()) == notes[int(position)]
                    checked += 1
    assert checked > 10


def test_nothing_but_the_number_of_a_sample_decides(corpus: Corpus) -> None:
    """Read ahead from any sample, by one process or two, in any order: the same melodies."""
    config = melody_config()

    def melodies(batch: Batch) -> list[Any]:
        return [line["self_wav"].chroma_LP.tolist() if "self_wav" in line else None for line in batch.lines]

    def take(first: int, **options: Any) -> list[Any]:
        dataset = make_dataset(corpus, **options)
        dataset.seek(first)
        with TokenBatches(dataset, then=make_recordings(corpus, config).add_to_training) as batches:
            return melodies(next(batches)) + melodies(next(batches))

    whole = take(0)
    assert sum(melody is not None for melody in whole) > 3
    assert take(6)[:6] == whole[6:]
    halves = [take(0, rank=rank, world_size=2) for rank in (0, 1)]
    assert [*halves[0][:3], *halves[1][:3], *halves[0][3:], *halves[1][3:]] == whole


def test_validation_segments_are_read_once(corpus: Corpus) -> None:
    class Counting(TrackAudio):
        reads = 0

        def read(self, lines: Any, starts: Any, num_frames: int) -> tuple[np.ndarray, np.ndarray]:
            self.reads += len(lines)
            return super().read(lines, starts, num_frames)

    audio = Counting([corpus[2]], SPEC)
    recordings = make_recordings(corpus, melody_config(), audio)
    tracks = open_tracks([corpus[0]], [corpus[1]], "valid", SPEC)

    def validate() -> list[Any]:
        options = {"num_segments": 5, "batch_size": 2, "segment_frames": 50, "min_segment_ratio": 0.5}
        batches = [recordings.add_to_validation(batch) for batch in valid_batches(tracks, **options)]
        return [line["self_wav"].chroma_LP for batch in batches for line in batch.lines]

    first, read = validate(), audio.reads
    again = validate()
    assert 0 < audio.reads == read <= 6
    assert len(first) == len(again) == 6
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_a_run_resumes_and_splits_exactly(corpus: Corpus, tmp_path: Path) -> None:
    options = {"steps": 6, "checkpoint_every_steps": 3, "validate_every_steps": 3}
    whole = start(corpus, tmp_path / "whole", melody_config(**options))
    start(corpus, tmp_path / "cut", melody_config(**options))
    (tmp_path / "cut/DONE").unlink()
    (tmp_path / "cut/checkpoints/step-00000006/.metadata").write_bytes(b"")
    assert start(corpus, tmp_path / "cut", melody_config(**options)) == whole
    small = start(corpus, tmp_path / "small", melody_config(micro_batch_size=1, **options))
    for one, other in zip(small, whole, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-6)
    deaf = tiny_config(
        {"conditions": {"self_wav": ChromaConditionConfig(**{**vars(CHROMA), "dropout": 1.0})}}, **options
    )
    assert start(corpus, tmp_path / "deaf", deaf)[0]["loss"] != whole[0]["loss"], "the melody changes the loss"


def test_without_prepared_audio_it_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(
        Refused, match=r"model\.conditions self_wav: the model is conditioned on recordings, but no prep"
    ):
        run(melody_config(), manifests=[corpus[0]], indexes=[corpus[1]], run_dir=tmp_path / "run")
    assert not (tmp_path / "run/config.json").exists()


def test_a_track_whose_audio_is_gone_stops_the_run_by_name(corpus: Corpus, tmp_path: Path) -> None:
    from musicgen_core.data.shard_write import open_shard

    empty = tmp_path / "audio/made" / corpus[2].name
    empty.parent.mkdir(parents=True)
    with open_shard(empty):
        pass
    with pytest.raises(ValueError, match=r"holds no [0-9a-f]{32}\.flac \(song \d\.wav\)"):
        start((corpus[0], corpus[1], empty), tmp_path / "run", melody_config())


def test_the_config_of_a_run_holds_the_length_of_its_melodies(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a chroma condition of num_frames 0: needs at least 1"):
        start(corpus, tmp_path / "run", melody_config(ChromaConditionConfig(kind="chroma")))
    start(corpus, tmp_path / "run", melody_config(steps=1))
    assert json.loads((tmp_path / "run/config.json").read_text())["model"]["conditions"]["self_wav"]["num_frames"] == 32


def test_what_only_the_melody_tells_is_learnt(tmp_path: Path) -> None:
    """Each frame has a note of its own: without hearing it nobody pays less than ln(60) = 4.09 nats."""
    corpus = write_sung_corpus(tmp_path)
    chroma = ChromaConditionConfig(
        kind="chroma", sample_rate_hz=16000, radix2_exp=9, num_frames=126, fusion="input_interpolate", dropout=0.0
    )
    options = {"steps": 60, "validate_every_steps": 60, "checkpoint_every_steps": 60, "cfg_dropout": 0.0}

    def final(model: dict[str, Any], name: str) -> float:
        pattern = ParallelPatternConfig(kind="parallel")
        config = tiny_config({"pattern": pattern, **model}, learning_rate=5e-3, batch_size=8, **options)
        return next(line["loss"] for line in start(corpus, tmp_path / name, config) if line["kind"] == "valid")

    assert final({}, "deaf") > 4.05
    assert final({"conditions": {"self_wav": chroma}}, "hearing") < 3.5


@pytest.mark.filterwarnings("ignore")  # of transformers' modules
def test_clap_learns_its_codebooks_and_resumes(corpus: Corpus, tmp_path: Path) -> None:
    clap = ClapConditionConfig(
        kind="clap", path=str(write_clap(tmp_path / "clap")), num_levels=2, num_entries=8, dropout=0.3
    )
    options = {"steps": 6, "checkpoint_every_steps": 3, "validate_every_steps": 3}

    def train(name: str, **more: Any) -> list[dict[str, Any]]:
        return start(corpus, tmp_path / name, tiny_config({"conditions": {"sound": clap}}, **options, **more))

    whole = train("whole")
    weights, _ = load_best_weights(tmp_path / "whole")
    ready = [value for name, value in weights.items() if name.endswith("inited")]
    assert len(ready) == 2
    assert all(value > 0 for value in ready)
    train("cut")
    (tmp_path / "cut/DONE").unlink()
    (tmp_path / "cut/checkpoints/step-00000006/.metadata").write_bytes(b"")
    assert train("cut") == whole
    for one, other in zip(train("small", micro_batch_size=1), whole, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)


@pytest.mark.filterwarnings("ignore")  # of transformers' modules
def test_other_audio_or_another_frozen_model_is_refused_at_a_resume(tmp_path: Path) -> None:
    folder, index = write_corpus(tmp_path, num_frames=80)
    audio = write_audio(tmp_path, folder)
    clap = write_clap(tmp_path / "clap")
    heard = {"self_wav": CHROMA, "mood": ClapConditionConfig(kind="clap", path=str(clap), num_entries=16)}
    config = tiny_config({"conditions": heard}, steps=1)
    where = (folder, index, audio)
    start(where, tmp_path / "run", config)
    record = json.loads((tmp_path / "run/config.json").read_text())
    assert record["audio"].keys() == {audio.parent.name}
    assert record["models"].keys() == {"model.conditions.mood"}
    (tmp_path / "run/DONE").unlink()
    weights = next(clap.glob("*.safetensors"))
    for path, key in ((audio, f"audio.{audio.parent.name}"), (weights, "models.model.conditions.mood")):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(
            Refused, match=rf"holds checkpoints of another run: {re.escape(key)} was \w{{32}}, is \w{{32}};"
        ):
            start(where, tmp_path / "run", config)
        path.write_bytes(whole)
    start(where, tmp_path / "run", config)
    assert (tmp_path / "run/DONE").exists()
