"""The whole of config.yaml, and the part of it that each stage may depend on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from musicgen_core.config.data import (
    AudioConfig,
    CodecConfig,
    CodecSpec,
    CorpusConfig,
    DataConfig,
    TinyCodecConfig,
    TokenizeConfig,
)
from musicgen_core.config.evaluation import EvaluationConfig, GenerationConfig
from musicgen_core.config.model import ConditionerConfig, LutConditionerConfig, ModelConfig
from musicgen_core.config.training import TrainingConfig
from musicgen_core.config.upkeep import UpkeepConfig


@dataclass(frozen=True, kw_only=True)
class RootConfig:
    """config.yaml."""

    corpora: dict[str, CorpusConfig]
    """Named folders of music."""

    results: str = "results"
    """Folder for everything the pipeline makes."""

    seed: int = 2036
    """Seeds initialisation, sampling and dropout."""

    data: DataConfig = field(default_factory=DataConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    codec: CodecConfig = field(default_factory=TinyCodecConfig)
    tokenize: TokenizeConfig = field(default_factory=TokenizeConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    conditioner: ConditionerConfig = field(default_factory=LutConditionerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    upkeep: UpkeepConfig = field(default_factory=UpkeepConfig)
    on_changed_data: Literal["restart", "continue", "refuse"] = "restart"
    """What happens to a trained run whose music, words or preparation changed since. `restart`: a new folder, trained
    from step 0. `continue`: a new folder that starts from the old run's newest weights, optimizer state and average;
    its steps, schedule and data order begin anew. `refuse`: an error. The old folder stays in every case."""

    runs: dict[str, dict[str, Any] | None] = field(default_factory=lambda: {"base": {}})
    """Named runs. Each overrides keys of seed, on_changed_data, model, conditioner, training, generation and
    evaluation, and may name the `corpora` it uses (default: all)."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run after its overrides are applied."""

    name: str
    seed: int
    on_changed_data: Literal["restart", "continue", "refuse"]
    corpora: tuple[str, ...]
    model: ModelConfig
    conditioner: ConditionerConfig
    training: TrainingConfig
    generation: GenerationConfig
    evaluation: EvaluationConfig


@dataclass(frozen=True, kw_only=True)
class ScanStageConfig:
    """What the scan depends on."""

    corpora: dict[str, CorpusConfig]
    data: DataConfig


@dataclass(frozen=True, kw_only=True)
class ResampleStageConfig:
    """What prepared audio depends on."""

    audio: AudioConfig
    sample_rate_hz: int
    num_channels: int
    min_duration_sec: float
    max_duration_sec: float | None
    silence_dbfs: float


@dataclass(frozen=True, kw_only=True)
class ManifestStageConfig:
    """What the manifest of one corpus depends on."""

    corpus: str
    license: str | None
    licenses: tuple[str, ...] | None
    weight: float
    allow_uncaptioned: bool


@dataclass(frozen=True, kw_only=True)
class TokenizeStageConfig:
    """What codes depend on."""

    codec: CodecSpec
    tokenize: TokenizeConfig


@dataclass(frozen=True, kw_only=True)
class IndexStageConfig:
    """What the index of one corpus depends on."""

    codec_digest: str
    card: int


@dataclass(frozen=True, kw_only=True)
class TrainStageConfig:
    """What a trained model depends on."""

    seed: int
    codec: CodecSpec
    model: ModelConfig
    conditioner: ConditionerConfig
    training: TrainingConfig


@dataclass(frozen=True, kw_only=True)
class ExportStageConfig:
    """What an export depends on besides the run: nothing."""


@dataclass(frozen=True, kw_only=True)
class GenerateStageConfig:
    """What samples depend on besides the exported model."""

    generation: GenerationConfig
    num_prompts: int
    """Held-out captions of each corpus that become prompts."""


@dataclass(frozen=True, kw_only=True)
class EvaluateStageConfig:
    """What figures depend on besides the exported model and its samples."""

    seed: int
    segment_sec: float
    evaluation: EvaluationConfig


@dataclass(frozen=True, kw_only=True)
class ReportStageConfig:
    """What a report depends on besides what it shows: nothing."""


def project_scan(root: RootConfig) -> ScanStageConfig:
    return ScanStageConfig(corpora=root.corpora, data=root.data)


def project_resample(root: RootConfig, codec: CodecSpec) -> ResampleStageConfig:
    return ResampleStageConfig(
        audio=root.audio,
        sample_rate_hz=codec.sample_rate_hz,
        num_channels=codec.num_channels,
        min_duration_sec=root.data.min_duration_sec,
        max_duration_sec=root.data.max_duration_sec,
        silence_dbfs=root.data.silence_dbfs,
    )


def project_manifest(root: RootConfig, corpus: str) -> ManifestStageConfig:
    c = root.corpora[corpus]
    return ManifestStageConfig(
        corpus=corpus,
        license=c.license,
        licenses=c.licenses,
        weight=c.weight,
        allow_uncaptioned=root.data.allow_uncaptioned,
    )


def project_tokenize(root: RootConfig, codec: CodecSpec) -> TokenizeStageConfig:
    return TokenizeStageConfig(codec=codec, tokenize=root.tokenize)


def project_index(codec: CodecSpec) -> IndexStageConfig:
    return IndexStageConfig(codec_digest=codec.digest, card=codec.card)


def project_train(run: RunConfig, codec: CodecSpec) -> TrainStageConfig:
    return TrainStageConfig(
        seed=run.seed, codec=codec, model=run.model, conditioner=run.conditioner, training=run.training
    )


def project_generate(root: RootConfig, run: RunConfig) -> GenerateStageConfig:
    return GenerateStageConfig(generation=run.generation, num_prompts=root.data.num_prompts)


def project_evaluate(run: RunConfig) -> EvaluateStageConfig:
    return EvaluateStageConfig(seed=run.seed, segment_sec=run.training.segment_sec, evaluation=run.evaluation)
