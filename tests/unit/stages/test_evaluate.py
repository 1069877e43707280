"""Evaluate, end to end, on a made-up corpus with an untrained codec and an untrained model."""

import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from musicgen_core import native
from musicgen_core.codec.base import Codec, encode_track
from musicgen_core.codec.load import load_codec
from musicgen_core.codec.tiny import TinyCodecArchitecture, TinyEncodec, tiny_config
from musicgen_core.config.data import TokenizeConfig
from musicgen_core.config.evaluation import EvaluationConfig, GenerationConfig
from musicgen_core.config.model import LutConditionerConfig, ModelConfig
from musicgen_core.config.root import EvaluateStageConfig, GenerateStageConfig, TrainStageConfig
from musicgen_core.config.training import TrainingConfig
from musicgen_core.data.manifest import ManifestRecord, read_manifest
from musicgen_core.data.plan import Where
from musicgen_core.data.shard_write import open_shard
from musicgen_core.eval.clips import read_clips
from musicgen_core.eval.heldout import choose_segments, open_indexes, read_audio, read_codes, read_split
from musicgen_core.lm.initialize import initialize
from musicgen_core.lm.model import build_model
from musicgen_core.lm.weights import save_export
from musicgen_core.stages import evaluate, generate
from musicgen_core.util.atomic import write_json, write_jsonl, write_text

BUCKET = "00000-of-00001"
CONFIG = EvaluateStageConfig(
    seed=3,
    segment_sec=1.0,
    evaluation=EvaluationConfig(num_segments=6, batch_size=4, num_codec_seconds=3.0, device="cpu"),
)


@dataclass(frozen=True)
class World:
    """Everything that evaluate reads."""

    folder: Path
    codec: Codec
    manifest: Path
    index: Path
    tar: Path
    export: Path
    where: Path
    samples: Path

    def run(self, config: EvaluateStageConfig = CONFIG) -> dict[str, Any]:
        out = self.folder / "out/metrics.json"
        evaluate.run(
            config,
            export=self.export,
            manifests=[self.manifest],
            indexes=[self.index],
            audio=[self.tar],
            samples=self.samples,
            where=self.where,
            out=out,
            references=self.folder / "out/references",
        )
        return json.loads(out.read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    codec = make_codec(folder / "codec", seed=0)
    write_text(folder / "where.json", Where(codec=folder / "codec", corpora={}).to_text())
    records = [
        make_record(i, split) for split, ids in {"train": range(4), "evaluate": range(4, 7)}.items() for i in ids
    ]
    wavs = {record["track"]: make_wav(i) for i, record in enumerate(records)}
    audio, tokens = folder / f"audio/mine/{BUCKET}.tar", folder / f"tokens/mine/{BUCKET}.tar"
    with open_shard(audio) as prepared, open_shard(tokens) as shard:
        for key, wav_CN in sorted(wavs.items()):
            buffer = io.BytesIO()
            soundfile.write(buffer, wav_CN.T, codec.spec.sample_rate_hz, format="FLAC", subtype="PCM_24")
            prepared.add(f"{key}.flac", buffer.getvalue())
            decoded_CN, _ = native.decode(buffer.getvalue())
            shard.add_array(f"{key}.codes.npy", encode_track(codec, decoded_CN, TokenizeConfig()))
            shard.add_json(f"{key}.json", {"key": key})
    index = tokens.parent / "index.bin"
    native.write_token_index(index, [tokens], codec.spec.digest, codec.spec.card)
    for split in ("train", "evaluate"):
        write_jsonl(folder / f"manifest/mine/{split}.jsonl", [r for r in records if r["split"] == split])
    make_export(folder / "export", codec)
    generate.run(
        GenerateStageConfig(
            generation=GenerationConfig(prompts=("a", "b"), duration_sec=1.0, device="cpu"), num_prompts=4
        ),
        export=folder / "export",
        prompts=[],
        where=folder / "where.json",
        out=folder / "samples",
    )
    return World(
        folder,
        codec,
        folder / "manifest/mine",
        index,
        audio,
        folder / "export",
        folder / "where.json",
        folder / "samples",
    )


def make_codec(folder: Path, seed: int) -> Codec:
    torch.manual_seed(seed)
    architecture = TinyCodecArchitecture(card=32, num_filters=4, dimension=8, num_codebooks=3)
    model = TinyEncodec(architecture)
    folder.mkdir(parents=True)
    for codebook in model.codebooks():
        codebook.embed.normal_()
    save_file(model.export_state(), folder / "model.safetensors")
    write_json(folder / "config.json", tiny_config(architecture))
    return load_codec(folder)


def make_export(folder: Path, codec: Codec) -> None:
    size, words = ModelConfig(dim=32, num_heads=2, num_layers=2), LutConditionerConfig(num_bins=64, dim=8)
    model = build_model(size, words, codec.spec)
    initialize(model, seed=0)
    folder.mkdir()
    training = TrainStageConfig(seed=0, codec=codec.spec, model=size, conditioner=words, training=TrainingConfig())
    save_export(folder, model, training, {"step": 7})


def make_record(number: int, split: str) -> dict[str, Any]:
    record = dict.fromkeys(ManifestRecord.__dataclass_fields__, None)
    return record | {
        "path": f"{number}.wav",
        "duration": 2.5,
        "sample_rate": 16000,
        "track": native.hash_bytes(str(number).encode()),
        "corpus": "mine",
        "split": split,
        "bucket": BUCKET,
        "caption": None if number == 6 else f"caption {number}",
        "license": "CC0-1.0",
        "num_samples": 40000,
    }


def make_wav(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    time = np.arange(40_000) / 16_000
    return (0.3 * np.sin(2 * np.pi * 110 * (seed + 1) * time) + 0.02 * random.normal(size=40_000)).astype(np.float32)[
        None
    ]


@pytest.fixture(scope="module")
def metrics(world: World) -> dict[str, Any]:
    return world.run()


def test_every_figure_has_a_unit_and_its_samples(metrics: dict[str, Any]) -> None:
    assert set(metrics["figures"]) == {"token_loss", "frechet", "round_trip", "adherence"}
    for group, members in metrics["figures"].items():
        for name, figure in members.items():
            assert figure["unit"], (group, name)
            values = figure["value"] if isinstance(figure["value"], list) else [figure["value"]]
            assert all(np.isfinite(values)), (group, name)
            assert figure["samples"] or name == "uniform", (group, name)


def test_token_loss_is_of_the_right_size_and_over_the_same_tokens(metrics: dict[str, Any], world: World) -> None:
    loss = metrics["figures"]["token_loss"]
    assert loss["model"]["value"] == pytest.approx(np.log(32), abs=1.5), "an untrained model knows nothing"
    assert loss["uniform"]["value"] == pytest.approx(np.log(32))
    assert loss["own_unigram"]["value"] <= loss["unigram"]["value"]
    assert loss["perplexity"]["value"] == pytest.approx(np.exp(loss["model"]["value"]))
    assert loss["below_unigram"]["value"] == pytest.approx(loss["unigram"]["value"] - loss["model"]["value"])
    # 3 tracks of 125 frames, cut into 3 pieces each, 6 of the pieces kept; the delays 0, 1, 2 cost a piece 3 tokens
    samples = loss["model"]["samples"]
    assert samples["segments"] == 6
    assert 6 * (3 * 41 - 3) <= samples["tokens"] <= 6 * (3 * 42 - 3)
    assert loss["without_caption"]["samples"]["segments"] < 6, "only segments with a caption are compared"
    assert {"caption_gain", "wrong_caption", "right_caption_gain"} <= set(loss)


def test_frechet_counts_all_frames(metrics: dict[str, Any], world: World) -> None:
    frechet = metrics["figures"]["frechet"]
    assert frechet["samples"]["samples"]["frames"] == 3 * 50
    assert frechet["noise"]["samples"]["frames"] == 3 * 50
    halves = frechet["halves"]["samples"]
    assert halves["frames"] + halves["reference_frames"] == frechet["samples"]["samples"]["reference_frames"]
    assert frechet["codec"]["samples"]["frames"] == frechet["codec"]["samples"]["reference_frames"]
    assert frechet["samples"]["value"] > 0


def test_the_same_inputs_give_the_same_file(metrics: dict[str, Any], world: World) -> None:
    assert world.run() == metrics


def test_ingredients_are_recorded(metrics: dict[str, Any], world: World) -> None:
    assert metrics["codec"] == asdict(world.codec.spec)
    assert metrics["model"] == {"weights_digest": native.hash_file(world.export / "model.safetensors"), "step": 7}
    assert metrics["config"]["evaluation"]["num_segments"] == 6
    assert metrics["adherence_sampling"]["cfg_coef"] == 3.0


def test_clips_can_be_listened_to(metrics: dict[str, Any], world: World) -> None:
    folder = world.folder / "out/references"
    clips = read_clips(folder)
    assert len({clip.track for clip in clips}) == len(clips) or len(clips) == 4
    for clip in clips:
        original, rate_hz = native.decode(folder / clip.original)
        rebuilt, _ = native.decode(folder / clip.reconstruction)
        assert rate_hz == 16_000
        assert original.shape == rebuilt.shape
        assert original.shape[1] / rate_hz == pytest.approx(clip.duration_sec)


def test_segments_share_no_token_and_do_not_depend_on_order(world: World) -> None:
    shards = open_indexes([world.index], world.codec.spec.digest)
    records = read_split([world.manifest], "evaluate")
    every = choose_segments(records, shards, 50, 1000, seed=1)
    assert sum(segment.num_frames for segment in every) == 3 * 125
    assert all(40 <= segment.num_frames <= 50 for segment in every)
    taken = [(s.record.track, frame) for s in every for frame in range(s.start_frame, s.start_frame + s.num_frames)]
    assert len(taken) == len(set(taken))
    assert choose_segments(records[::-1], shards, 50, 4, seed=1) == every[:4]
    assert choose_segments(records, shards, 50, 4, seed=2) != every[:4]


def test_audio_of_a_segment_is_what_its_codes_were_made_of(world: World) -> None:
    shards = open_indexes([world.index], world.codec.spec.digest)
    segments = choose_segments(read_split([world.manifest], "evaluate"), shards, 125, 3, seed=1)
    for segment, wav_CN in zip(segments, read_audio(segments, [world.tar], 320), strict=True):
        assert segment.num_frames == 125
        np.testing.assert_array_equal(encode_track(world.codec, wav_CN, TokenizeConfig()), read_codes(segment, shards))


def test_another_codec_is_refused_with_both_digests(world: World, tmp_path: Path) -> None:
    other = make_codec(tmp_path / "other", seed=1)
    write_text(tmp_path / "where.json", Where(codec=tmp_path / "other", corpora={}).to_text())
    with pytest.raises(ValueError, match=f"{world.codec.spec.digest}.*{other.spec.digest}"):
        replace(world, where=tmp_path / "where.json").run()
    with pytest.raises(ValueError, match=f"{world.codec.spec.digest}.*{other.spec.digest}"):
        open_indexes([world.index], other.spec.digest)


def test_missing_music_is_named(world: World, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"corpus mine, bucket {BUCKET}"):
        replace(world, tar=tmp_path / "mine/00001-of-00002.tar").run()
    with open_shard(tmp_path / f"mine/{BUCKET}.tar"):
        pass
    with pytest.raises(ValueError, match=r"holds no .*\.flac.*re-run the resample stage"):
        replace(world, tar=tmp_path / f"mine/{BUCKET}.tar").run()


def test_an_empty_split_is_one_clear_line(world: World, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "evaluate.jsonl", [])
    with pytest.raises(ValueError, match=r"holds 0 tracks but evaluation needs at least 1.*data\.evaluate_fraction"):
        replace(world, manifest=tmp_path).run()


def test_no_caption_means_no_caption_figures(world: World, tmp_path: Path) -> None:
    for split in ("train", "evaluate"):
        records = [replace(record, caption=None) for record in read_manifest(world.manifest / f"{split}.jsonl")]
        write_jsonl(tmp_path / f"mine/{split}.jsonl", [record.to_dict() for record in records])
    figures = replace(world, manifest=tmp_path / "mine", folder=tmp_path).run()["figures"]
    assert figures["token_loss"]["without_caption"]["value"] is None
    assert figures["adherence"]["between_captions"]["note"] == (
        "captions in the evaluate split: 0; at least 2 different ones are needed to compare"
    )
