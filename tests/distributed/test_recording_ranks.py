"""Training on melodies with several real processes over gloo."""

from pathlib import Path

import pytest
from audio_corpus import write_audio
from ranks import run_ranks
from small_clap import write_clap
from token_corpus import tiny_config, write_corpus

from musicgen_core.config.condition import (
    ChromaConditionConfig,
    ClapConditionConfig,
    ConditionConfig,
    StyleConditionConfig,
)
from musicgen_core.config.extractor import MelExtractorConfig
from musicgen_core.stages.train import run
from musicgen_core.train.job import TrainJob
from musicgen_core.train.launch import run_rank
from musicgen_core.util.atomic import read_jsonl

CHROMA = ChromaConditionConfig(kind="chroma", sample_rate_hz=16000, radix2_exp=11, num_frames=32, dropout=0.3)

STYLE = StyleConditionConfig(
    kind="style",
    extractor=MelExtractorConfig(sample_rate_hz=8000, frame_rate_hz=50, window_samples=512, num_mels=16),
    min_sec=0.2,
    max_sec=0.5,
    eval_sec=0.3,
    dim=16,
    num_heads=2,
    num_layers=1,
    num_levels=2,
    eval_levels=1,
    num_entries=8,
    downsample=5,
    dropout=0.3,
)


@pytest.mark.filterwarnings("ignore")  # of transformers' modules
@pytest.mark.parametrize(("size", "kind"), [(2, "chroma"), (4, "chroma"), (2, "clap"), (2, "style")])
def test_processes_equal_one(size: int, kind: str, tmp_path: Path) -> None:
    folder, index = write_corpus(tmp_path, num_frames=80)
    tar = write_audio(tmp_path, folder)
    conditions: dict[str, ConditionConfig] = {"self_wav": CHROMA}
    if kind == "clap":
        path = str(write_clap(tmp_path / "clap"))
        conditions = {"sound": ClapConditionConfig(kind="clap", path=path, num_levels=2, num_entries=8)}
    if kind == "style":
        conditions = {"style": STYLE}
    config = tiny_config({"conditions": conditions}, steps=6, validate_every_steps=3)
    run(config, manifests=[folder], indexes=[index], audio=[tar], run_dir=tmp_path / "one")
    job = TrainJob(config, (folder,), (index,), tmp_path / "many", 1, audio=(tar,))
    assert run_ranks(size, run_rank, (job,), tmp_path / "log") == [0] * size
    for one, other in zip(*(read_jsonl(tmp_path / n / "history.jsonl") for n in ("one", "many")), strict=True):
        assert one.get("samples") == other.get("samples")
        assert other["loss_per_codebook"] == pytest.approx(one["loss_per_codebook"], abs=1e-5)
