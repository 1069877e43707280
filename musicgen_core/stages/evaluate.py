"""Evaluate: measure an exported model on held-out music.

Everything that a figure rests on is in metrics.json beside it: which codec, how many segments, tracks and tokens, which
seed, which sampling. The same inputs give the same file.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicgen_core import __version__
from musicgen_core.codec.base import Codec
from musicgen_core.codec.load import load_codec
from musicgen_core.conditioners.recording import AudioConditioner, Recording
from musicgen_core.conditioners.rows import plain_rows
from musicgen_core.conditioners.style import StyleExcerpt
from musicgen_core.config.condition import hides_frames
from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.root import EvaluateStageConfig
from musicgen_core.data.plan import read_where
from musicgen_core.eval.adherence import adherence_figures, pick_captions
from musicgen_core.eval.clips import write_clips
from musicgen_core.eval.figure import Figure, missing
from musicgen_core.eval.heldout import Segment, choose_segments, open_indexes, read_audio, read_codes, read_split
from musicgen_core.eval.latents import frechet_figure, latent_frames, split_halves
from musicgen_core.eval.round_trip import reconstruct, round_trip_figures
from musicgen_core.eval.samples import Sample, load_wav, read_samples
from musicgen_core.eval.token_loss import token_loss_figures
from musicgen_core.eval.unigram import count_codes, draw_codes, train_unigram
from musicgen_core.lm.generate import generate
from musicgen_core.lm.model import LanguageModel
from musicgen_core.lm.weights import load_export, read_codec
from musicgen_core.stages.generate import check_codec
from musicgen_core.util.atomic import write_json
from musicgen_core.util.digest import digest_file
from musicgen_core.util.log import progress, say

Figures = dict[str, Figure]

NUM_CAPTIONS = 4
NUM_DRAWS = 4


def run(
    config: EvaluateStageConfig,
    *,
    export: Path,
    manifests: list[Path],
    indexes: list[Path],
    audio: list[Path],
    samples: Path,
    where: Path,
    out: Path,
    references: Path,
) -> None:
    """Measure the model in `export`: metrics.json to `out`, clips to listen to into the folder `references`.

    `manifests` are corpus folders with train.jsonl and evaluate.jsonl, `audio` the prepared tars CORPUS/BUCKET.tar,
    `samples` the folder that the generate stage wrote. Raises ValueError when the parts are of different codecs, the
    evaluate split is empty, or a track is missing from its index or tar.
    """
    device = _device(config.evaluation.device)
    model, facts = load_export(export, device=str(device))
    folder = read_where(where).codec
    trained = read_codec(facts)
    codec = load_codec(folder, str(device), trained.num_channels)
    check_codec(trained, codec.spec, folder)
    shards = open_indexes(indexes, codec.spec.digest)
    segment_frames = max(1, round(config.segment_sec * codec.spec.frame_rate_hz))
    held_out = read_split(manifests, "evaluate")
    segments = choose_segments(held_out, shards, segment_frames, config.evaluation.num_segments, config.seed)
    unigram_KC = train_unigram(count_codes(read_split(manifests, "train"), shards))
    wavs = read_audio(segments, audio, codec.spec.hop_samples)
    rebuilt = _reconstruct_some(codec, wavs, config.evaluation.num_codec_seconds, device)
    # a continuation begins with real music, which would flatter the figures
    generated = [sample for sample in read_samples(samples) if sample.source != "continuation"]
    codes = [read_codes(segment, shards) for segment in segments]
    rows = _rows(model, segments, wavs, codec.spec.sample_rate_hz)
    figures: dict[str, Figures] = {
        "token_loss": token_loss_figures(
            model,
            codes,
            rows,
            [segment.record.track for segment in segments],
            unigram_KC,
            config.evaluation.batch_size,
            config.seed,
            _hidden_frames(model, codes, rows, codec.spec.frame_rate_hz),
        ),
        "frechet": _frechet_figures(codec, segments, wavs, rebuilt, generated, unigram_KC, config.seed, device),
        "round_trip": round_trip_figures(wavs[: len(rebuilt)], rebuilt, codec.spec.sample_rate_hz),
    }
    sampling = _sampling(generated[0], config)
    figures["adherence"] = _adherence(model, held_out, sampling, segment_frames, config.seed)
    write_clips(
        references, segments[: len(rebuilt)], wavs, rebuilt, codec.spec.sample_rate_hz, codec.spec.frame_rate_hz
    )
    write_json(
        out,
        {
            "format": "musicgen_core metrics",
            "version": 1,
            "config": asdict(config),
            "adherence_sampling": asdict(sampling),
            "codec": asdict(codec.spec),
            "model": {"weights_digest": digest_file(export / "model.safetensors"), "step": facts["step"]},
            "versions": {"musicgen_core": __version__, "torch": torch.__version__, "numpy": np.__version__},
            "figures": {
                group: {name: figure.to_json() for name, figure in members.items()}
                for group, members in figures.items()
            },
        },
    )
    _show(figures)


def _rows(
    model: LanguageModel, segments: list[Segment], wavs: list[np.ndarray], sample_rate_hz: int
) -> list[dict[str, Any]]:
    """All that the model is conditioned on, of each segment."""
    rows = plain_rows([asdict(segment.record) for segment in segments], model.config.conditions)
    filled = [row or {} for row in rows]
    for name, conditioner in model.conditioners.items():
        if isinstance(conditioner, AudioConditioner):
            for row, wav_CN in zip(filled, wavs, strict=True):
                row[name] = conditioner.take(Recording(wav_CN, sample_rate_hz))
    return filled


def _hidden_frames(
    model: LanguageModel, codes: list[np.ndarray], rows: list[dict[str, Any]], frame_rate_hz: float
) -> list[np.ndarray] | None:
    """bool [T] of each segment: what the training, too, leaves out of the loss. None for a model that hides nothing."""
    if not hides_frames(model.config.conditions):
        return None
    hidden = [np.zeros(codes_KT.shape[1], dtype=bool) for codes_KT in codes]
    for hidden_T, row in zip(hidden, rows, strict=True):
        for value in row.values():
            if isinstance(value, StyleExcerpt):
                hidden_T[value.hidden_frames(frame_rate_hz)] = True
    return hidden


def _reconstruct_some(codec: Codec, wavs: list[np.ndarray], seconds: float, device: torch.device) -> list[np.ndarray]:
    """Reconstructions of the first pieces, at least one, that make up at most so many seconds."""
    ends_sec = np.cumsum([wav_CN.shape[1] for wav_CN in wavs]) / codec.spec.sample_rate_hz
    return reconstruct(codec, wavs[: max(1, int((ends_sec <= seconds).sum()))], device)


def _frechet_figures(
    codec: Codec,
    segments: list[Segment],
    wavs: list[np.ndarray],
    rebuilt: list[np.ndarray],
    generated: list[Sample],
    unigram_KC: np.ndarray,
    seed: int,
    device: torch.device,
) -> Figures:
    held_out = latent_frames(codec, wavs, device, "held-out audio")
    halves = split_halves(held_out, [segment.record.track for segment in segments])
    clips = [load_wav(sample.path, codec.spec) for sample in generated]
    samples = latent_frames(codec, clips, device, "samples")
    noise = _decode_noise(codec, unigram_KC, sum(map(len, samples)), seed, device)
    return {
        "samples": frechet_figure(samples, held_out, "Generated samples against held-out audio; lower is better."),
        "halves": frechet_figure(
            *halves, "One half of the held-out tracks against the other: what different music by itself gives."
        ),
        "codec": frechet_figure(
            latent_frames(codec, rebuilt, device, "reconstructions"),
            held_out[: len(rebuilt)],
            "Held-out audio after the codec against the same audio before: what the codec adds to any sample.",
        ),
        "noise": frechet_figure(
            latent_frames(codec, noise, device, "noise"),
            held_out,
            "Codes drawn by train frequency alone, decoded: what a model without any context would get.",
        ),
    }


@torch.inference_mode()
def _decode_noise(
    codec: Codec, unigram_KC: np.ndarray, num_frames: int, seed: int, device: torch.device
) -> list[np.ndarray]:
    if num_frames == 0:
        return []
    codes_KT = torch.from_numpy(draw_codes(unigram_KC, num_frames, seed)).to(device)
    pieces = codes_KT.split(round(30 * codec.spec.frame_rate_hz), dim=1)
    return [codec.decode(piece[None])[0].cpu().numpy() for piece in pieces]


def _sampling(like: Sample, config: EvaluateStageConfig) -> GenerationConfig:
    """The sampling of the run's samples, but for the seed and the length, which are those of this evaluation."""
    return GenerationConfig(
        duration_sec=config.segment_sec,
        top_k=like.top_k,
        top_p=like.top_p,
        temperature=like.temperature,
        cfg_coef=like.cfg_coef,
        seed=config.seed,
        device=config.evaluation.device,
    )


def _adherence(
    model: LanguageModel, held_out: list[Any], sampling: GenerationConfig, segment_frames: int, seed: int
) -> Figures:
    captions = pick_captions([record.caption for record in held_out if record.caption], NUM_CAPTIONS)
    if len(captions) < 2:
        reason = f"captions in the evaluate split: {len(captions)}; at least 2 different ones are needed to compare"
        return {"between_captions": missing("bits", reason)}
    draws = [
        generate(model, [caption] * NUM_DRAWS, segment_frames, sampling).cpu().numpy()
        for caption in progress(captions, "generating to compare captions")
    ]
    return adherence_figures(np.stack(draws), model.card, seed)


def _show(figures: dict[str, Figures]) -> None:
    for group, members in figures.items():
        for name, figure in members.items():
            if not isinstance(figure.value, list):
                value = "not measured" if figure.value is None else f"{figure.value:.4g} {figure.unit}"
                say(f"evaluate: {group}.{name}: {value}")


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("evaluation.device is cuda, but torch sees no GPU here: set it to auto or cpu")
    return torch.device(name)
