"""Resample, manifest, tokenize and index of one small corpus, called as functions."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from small_music import RATE_HZ, make_codec, make_corpus, make_tone

from musicgen_core import native
from musicgen_core.codec.load import load_codec
from musicgen_core.config.codec_spec import read_codec_folder
from musicgen_core.config.data import AudioConfig, CorpusConfig, DataConfig, TokenizeConfig
from musicgen_core.config.root import (
    IndexStageConfig,
    ManifestStageConfig,
    ResampleStageConfig,
    ScanStageConfig,
    TokenizeStageConfig,
)
from musicgen_core.data.manifest import read_manifest
from musicgen_core.data.plan import Where
from musicgen_core.data.shard_read import list_members, read_members
from musicgen_core.stages import index, manifest, resample, scan, tokenize
from musicgen_core.util.atomic import read_jsonl


@dataclass
class Corpus:
    """One corpus in one bucket, with the calls of its stages."""

    home: Path
    codec: Path
    digest: str = ""
    metadata_digest: str = ""

    @property
    def music(self) -> Path:
        return self.home / "music"

    def plan(self, **data: Any) -> None:
        corpora = {"mine": CorpusConfig(path=str(self.music), num_buckets=1)}
        config = ScanStageConfig(corpora=corpora, data=DataConfig(**data))
        planned = scan.run(config, results=self.home / "results").corpora["mine"]
        (self.digest,) = planned.buckets.values()
        self.metadata_digest = planned.metadata_digest
        where = Where(codec=self.codec, corpora={"mine": self.music})
        (self.home / "where.json").write_text(where.to_text())

    def resample(self, out: str = "audio/mine/b", **changes: Any) -> tuple[dict[str, bytes], dict[str, dict[str, Any]]]:
        """-> (tar members by name, records by path)."""
        config = ResampleStageConfig(
            audio=AudioConfig(),
            sample_rate_hz=RATE_HZ,
            num_channels=1,
            min_duration_sec=1.0,
            max_duration_sec=None,
            silence_dbfs=-60.0,
        )
        folder = self.home / "results/plan/mine"
        resample.run(
            replace(config, **changes),
            bucket=folder / "buckets/00000-of-00001.txt",
            digest=self.digest,
            where=self.home / "where.json",
            locations=folder / "locations/00000-of-00001.json",
            out_tar=self.home / f"{out}.tar",
            out_jsonl=self.home / f"{out}.jsonl",
        )
        records = {line["path"]: line for line in read_jsonl(self.home / f"{out}.jsonl")}
        return dict(read_members(self.home / f"{out}.tar")), records

    def manifest(self, **changes: Any) -> Path:
        config = ManifestStageConfig(
            corpus="mine", license="CC0-1.0", licenses=None, weight=1.0, allow_uncaptioned=False
        )
        manifest.run(
            replace(config, **changes),
            metadata=self.home / "results/plan/mine/metadata.jsonl",
            digest=self.metadata_digest,
            audio=[self.home / "audio/mine/b.jsonl"],
            out=self.home / "manifest",
        )
        return self.home / "manifest"

    def tokenize(self, out: str = "tokens/b.tar", **changes: Any) -> Path:
        config = TokenizeStageConfig(codec=read_codec_folder(self.codec), tokenize=TokenizeConfig())
        config = replace(config, codec=replace(config.codec, **changes))
        tokenize.run(config, audio=self.home / "audio/mine/b.tar", where=self.home / "where.json", out=self.home / out)
        return self.home / out


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_codec(tmp_path_factory.mktemp("codec") / "random")


@pytest.fixture
def corpus(tmp_path: Path, codec: Path) -> Corpus:
    make_corpus(tmp_path / "music", 6)
    made = Corpus(tmp_path, codec)
    made.plan()
    return made


def test_prepared_audio_is_the_source_to_24_bits(corpus: Corpus) -> None:
    members, records = corpus.resample()
    assert sorted(members) == sorted(f"{record['key']}.flac" for record in records.values())
    record = records["piece 03.wav"]
    source = soundfile.read(corpus.music / "piece 03.wav", dtype="float32")[0]
    prepared, rate_hz = soundfile.read(io.BytesIO(members[f"{record['key']}.flac"]), dtype="float32")
    assert rate_hz == RATE_HZ
    assert np.abs(source - prepared).max() <= 2**-24
    assert (record["num_samples"], record["sample_rate_hz"], record["num_channels"]) == (len(source), RATE_HZ, 1)
    assert record["peak"] == pytest.approx(float(np.abs(source).max()))
    assert record["gain_db"] == record["num_clipped_samples"] == 0


def test_two_builds_give_the_same_bytes(corpus: Corpus) -> None:
    corpus.resample("one")
    corpus.resample("two")
    for ending in (".tar", ".jsonl"):
        assert (corpus.home / f"one{ending}").read_bytes() == (corpus.home / f"two{ending}").read_bytes()


def test_resampler_is_the_configs(corpus: Corpus) -> None:
    """A tone just above the codec's band: its alias stays by AudioCraft's filter, and is gone by the other."""
    times = np.arange(4 * 44100) / 44100
    soundfile.write(corpus.music / "high.wav", np.sin(2 * np.pi * 1.01 * RATE_HZ / 2 * times) * 0.5, 44100)
    corpus.plan()
    level = {}
    for resampler in ("julius24", "hq"):
        members, records = corpus.resample(audio=AudioConfig(resampler=resampler), silence_dbfs=-200.0)
        prepared, _ = soundfile.read(io.BytesIO(members[f"{records['high.wav']['key']}.flac"]))
        level[resampler] = np.sqrt(np.mean(prepared[len(prepared) // 4 : -len(prepared) // 4] ** 2))
    assert level["julius24"] > 1e-4  # 3.8e-4 by the formula of julius, evaluated in NumPy
    assert level["hq"] < 2e-5


def test_rate_and_channels_become_the_codecs(corpus: Corpus) -> None:
    times = np.arange(2 * 11025) / 11025
    soundfile.write(corpus.music / "wide.wav", np.stack([np.sin(440 * times), 0 * times], 1) * 0.5, 11025)
    corpus.plan()
    members, records = corpus.resample(sample_rate_hz=RATE_HZ, num_channels=1)
    record = records["wide.wav"]
    prepared, rate_hz = soundfile.read(io.BytesIO(members[f"{record['key']}.flac"]))
    assert (rate_hz, prepared.shape, record["num_channels"]) == (RATE_HZ, (2 * RATE_HZ,), 2)
    assert np.abs(prepared).max() == pytest.approx(0.25, abs=0.01)


def test_bad_tracks_are_recorded_and_stop_nothing(corpus: Corpus) -> None:
    make_tone(corpus.music / "silent.wav", 440, amplitude=1e-4)
    soundfile.write(corpus.music / "cut.flac", np.random.default_rng(0).normal(0, 0.1, 4 * RATE_HZ), RATE_HZ)
    whole = (corpus.music / "cut.flac").read_bytes()
    (corpus.music / "cut.flac").write_bytes(whole[: len(whole) // 2])
    corpus.plan()
    members, records = corpus.resample(min_duration_sec=1.5)
    assert {path: r["reason"] for path, r in records.items() if r["status"] == "rejected"} == {
        "silent.wav": "silent",
        "cut.flac": "corrupt",
    }
    assert len(members) == 6
    assert "peak -78.3 dBFS" in records["silent.wav"]["detail"]


def test_length_is_judged_after_decoding_and_trimming(corpus: Corpus) -> None:
    samples = np.zeros(3 * RATE_HZ)
    samples[RATE_HZ : RATE_HZ + 100] = 0.5
    soundfile.write(corpus.music / "blip.wav", samples, RATE_HZ)
    corpus.plan()
    assert corpus.resample()[1]["blip.wav"]["num_samples"] == 3 * RATE_HZ
    _, records = corpus.resample(audio=AudioConfig(trim_silence_dbfs=-50.0), min_duration_sec=0.1)
    assert (records["blip.wav"]["reason"], records["blip.wav"]["detail"][:14]) == ("too_short", "after trimming")
    assert records["piece 00.wav"]["num_samples"] <= 1.5 * RATE_HZ
    members, records = corpus.resample(min_duration_sec=1.6)
    assert {r["reason"] for path, r in records.items() if path != "blip.wav"} == {"too_short"}
    assert len(members) == 1


def test_all_rejected_gives_an_empty_tar(corpus: Corpus) -> None:
    members, records = corpus.resample(silence_dbfs=0.0)
    assert members == {}
    assert {record["reason"] for record in records.values()} == {"silent"}
    shard = corpus.tokenize()
    assert list_members(shard) == []
    with pytest.raises(ValueError, match=r"no track left for train and valid and evaluate .0 used, 6 rejected"):
        corpus.manifest()


def test_loudness_is_reached_and_the_true_peak_holds(corpus: Corpus) -> None:
    def measure(target: float, ceiling: float) -> tuple[native.AudioMeasure, dict[str, Any]]:
        audio = AudioConfig(loudness_lufs=target, true_peak_dbtp=ceiling)
        members, records = corpus.resample(audio=audio)
        record = records["piece 03.wav"]
        return native.measure(*native.decode(members[f"{record['key']}.flac"])), record

    measured, record = measure(-26.0, -1.0)
    assert measured.loudness_lufs == pytest.approx(-26.0, abs=0.01)
    assert record["loudness_lufs"] == pytest.approx(-26.0)
    measured, record = measure(-1.0, -3.0)
    assert measured.true_peak_dbtp == pytest.approx(-3.0, abs=0.01)
    assert measured.loudness_lufs == pytest.approx(record["loudness_lufs"], abs=0.01)
    assert record["loudness_lufs"] < -1.0


def test_samples_beyond_full_scale_are_counted(corpus: Corpus) -> None:
    samples = (1.5 * np.sin(np.arange(2 * RATE_HZ) / 9)).astype(np.float32)
    soundfile.write(corpus.music / "hot.wav", samples, RATE_HZ, subtype="FLOAT")
    corpus.plan()
    members, records = corpus.resample()
    prepared, _ = soundfile.read(io.BytesIO(members[f"{records['hot.wav']['key']}.flac"]))
    assert records["hot.wav"]["num_clipped_samples"] == np.count_nonzero(np.abs(samples) > 1)
    assert np.abs(prepared).max() == 1.0
    assert np.array_equal(np.sign(prepared), np.sign(samples))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: make_tone(c.music / "piece 02.wav", 999), "piece 02.wav: changed since the plan"),
        (lambda c: (c.music / "piece 02.wav").unlink(), "piece 02.wav: gone since the plan"),
        (lambda c: setattr(c, "digest", "0" * 32), "00000-of-00001.txt: changed since the plan"),
    ],
)
def test_what_changed_since_the_plan_stops_the_bucket(
    corpus: Corpus, change: Callable[[Corpus], Any], message: str
) -> None:
    change(corpus)
    with pytest.raises(ValueError, match=message):
        corpus.resample()
    assert not (corpus.home / "audio").exists() or not list((corpus.home / "audio").rglob("*.*"))


def test_manifest_lines_are_audiocrafts_and_ours(corpus: Corpus) -> None:
    corpus.resample()
    folder = corpus.manifest(weight=2.0)
    by_split = {split: read_manifest(folder / f"{split}.jsonl") for split in ("train", "valid", "evaluate")}
    assert sorted(record.path for records in by_split.values() for record in records) == [
        f"piece 0{i}.wav" for i in range(6)
    ]
    assert all(record.split == split for split, records in by_split.items() for record in records)
    line = json.loads((folder / "train.jsonl").read_text().splitlines()[0])
    # audiocraft/data/audio_dataset.py, AudioMeta.from_dict: these keys, unknown ones are ignored
    assert list(line)[:6] == ["path", "duration", "sample_rate", "amplitude", "weight", "info_path"]
    assert (line["duration"], line["sample_rate"], line["weight"], line["info_path"]) == (1.5, RATE_HZ, 2.0, None)
    for split, records in by_split.items():
        tracks = native.TrackList(folder / f"{split}.jsonl")
        assert [tracks.key(n) for n in range(len(tracks))] == [record.track for record in records]
        assert tracks.total_samples == sum(record.num_samples for record in records)
    prompts = read_manifest(folder / "generate.jsonl")
    assert 1 <= len(prompts) <= 2
    assert {p.track for p in prompts} <= {r.track for r in by_split["evaluate"]}


def test_a_tracks_own_weight_multiplies_its_corpus(corpus: Corpus) -> None:
    (corpus.music / "piece 02.json").write_text(json.dumps({"weight": 0.25}))
    corpus.plan()
    corpus.resample()
    folder = corpus.manifest(weight=2.0)
    records = [r for split in ("train", "valid", "evaluate") for r in read_manifest(folder / f"{split}.jsonl")]
    assert {r.path: r.weight for r in records} == {f"piece {n:02d}.wav": 0.5 if n == 2 else 2.0 for n in range(6)}


def test_manifest_names_who_is_rejected(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    make_corpus(corpus.music, 12)
    make_tone(corpus.music / "silent.wav", 440, amplitude=1e-4)
    (corpus.music / "silent.txt").write_text("nothing")
    corpus.plan()
    corpus.resample()
    folder = corpus.manifest()
    rejected = read_jsonl(folder / "rejected.jsonl")
    assert [(line["path"], line["reason"]) for line in rejected] == [("silent.wav", "silent")]
    assert "rejected silent.wav: silent" in capsys.readouterr().err


def test_manifest_gates_licences(corpus: Corpus) -> None:
    make_corpus(corpus.music, 12)
    for number in range(12):
        name = "CC0-1.0" if number != 5 else "all rights reserved"
        (corpus.music / f"piece {number:02d}.json").write_text(json.dumps({"license": name}))
    corpus.plan()
    corpus.resample()
    folder = corpus.manifest(licenses=("cc0-1.0",))
    (line,) = read_jsonl(folder / "rejected.jsonl")
    assert (line["path"], line["reason"]) == ("piece 05.wav", "license")
    assert line["detail"] == "all rights reserved; allowed: cc0-1.0"


def test_manifest_refuses_music_without_words(corpus: Corpus) -> None:
    for path in corpus.music.glob("*.txt"):
        path.unlink()
    corpus.plan(allow_uncaptioned=True)
    corpus.resample()
    with pytest.raises(ValueError, match="0 of 6 tracks have a caption"):
        corpus.manifest()
    assert (corpus.manifest(allow_uncaptioned=True) / "generate.jsonl").read_text() == ""


def test_manifest_refuses_what_is_not_of_its_plan(corpus: Corpus) -> None:
    corpus.resample()
    corpus.metadata_digest = "0" * 32
    with pytest.raises(ValueError, match=r"metadata\.jsonl: changed since the plan"):
        corpus.manifest()
    corpus.plan()
    (corpus.home / "audio/mine/b.jsonl").write_text("")
    with pytest.raises(ValueError, match="in none of 1 audio lists"):
        corpus.manifest()
    (corpus.home / "audio/mine/b.jsonl").write_text('{"path": "x"}\n')
    with pytest.raises(ValueError, match=r"b\.jsonl, line 1: not a PreparedRecord"):
        corpus.manifest()


def test_shards_hold_the_codecs_codes(corpus: Corpus) -> None:
    import torch

    members, records = corpus.resample()
    shard = dict(read_members(corpus.tokenize()))
    spec = read_codec_folder(corpus.codec)
    key = records["piece 03.wav"]["key"]
    codes_KT = np.load(io.BytesIO(shard[f"{key}.codes.npy"]))
    wav_CN, _ = native.decode(members[f"{key}.flac"])
    expected_BKT = load_codec(corpus.codec).encode(torch.from_numpy(wav_CN)[None])
    assert codes_KT.dtype == np.uint16
    assert np.array_equal(codes_KT, expected_BKT[0].numpy())
    facts = json.loads(shard[f"{key}.json"])
    assert facts == {
        "key": key,
        "num_frames": -(-records["piece 03.wav"]["num_samples"] // spec.hop_samples),
        "num_samples": records["piece 03.wav"]["num_samples"],
        "sample_rate_hz": RATE_HZ,
        "codec": spec.digest,
    }
    assert corpus.tokenize("two.tar").read_bytes() == (corpus.home / "tokens/b.tar").read_bytes()


def test_a_codec_that_changed_is_refused(corpus: Corpus) -> None:
    corpus.resample()
    with pytest.raises(ValueError, match="the codec changed since the plan"):
        corpus.tokenize(digest="0" * 32)
    with pytest.raises(ValueError, match=r"\[2, T\] up to \d+, but the codec has 3 codebooks of 16"):
        corpus.tokenize(num_codebooks=3)
    assert not (corpus.home / "tokens").exists() or not list((corpus.home / "tokens").iterdir())


def test_index_finds_every_track(corpus: Corpus) -> None:
    _, records = corpus.resample()
    shard = corpus.tokenize()
    shutil.copy(shard, shard.with_name("stray.tar"))
    spec = read_codec_folder(corpus.codec)
    out = shard.with_name("index.bin")
    index.run(IndexStageConfig(codec_digest=spec.digest, card=spec.card), shards=[shard], out=out)
    tokens = native.TokenShards(out)
    assert sorted(tokens.keys) == sorted(record["key"] for record in records.values())
    codes_KT = np.load(io.BytesIO(dict(read_members(shard))[f"{tokens.keys[0]}.codes.npy"]))
    assert np.array_equal(tokens.read(0), codes_KT)
