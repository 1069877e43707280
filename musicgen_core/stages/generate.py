"""Generate: audio from prompts, from held-out captions, and from no words at all, with an exported model."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musicgen_core import native
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.prompt import PromptConfig
from musicgen_core.config.root import GenerateStageConfig
from musicgen_core.data.manifest import read_manifest
from musicgen_core.data.plan import read_where
from musicgen_core.data.track_audio import TrackAudio
from musicgen_core.util.atomic import atomic_folder, write_json
from musicgen_core.util.log import progress, say

if TYPE_CHECKING:
    from musicgen_core.codec.base import Codec
    from musicgen_core.conditioners.recording import Recording
    from musicgen_core.lm.model import LanguageModel, Values

BATCH_SIZE = 8
PEAK = 0.999
"""Louder samples are turned down to this before they are written, so that 16 bits do not clip."""


@dataclass(frozen=True)
class Request:
    """One sample to make."""

    prompt: str | None
    source: str
    """`prompt` (config), `held-out` (generate.jsonl) or `unconditional`."""

    more: PromptConfig = field(default_factory=PromptConfig)
    """Of a prompt of the config: what it has besides the words."""

    track: dict[str, Any] | None = None
    """Of a held-out caption: its line of the manifest."""


def run(
    config: GenerateStageConfig,
    *,
    export: Path,
    prompts: list[Path],
    where: Path,
    out: Path,
    audio: list[Path] | None = None,
) -> None:
    """Fill the folder `out` with NNN.wav (16 bit) and samples.json, all or nothing.

    `prompts` are generate.jsonl files, whose first captions follow those of the config; `where` says where the codec
    is when the export carries none. `audio` are prepared tars CORPUS/BUCKET.tar: a model that is conditioned on
    recordings hears the beginning of a held-out caption's own track. Raises ValueError when that is not the codec the
    model was trained on, a prompt has what the model is not conditioned on, or what is decoded is not finite.
    """
    from musicgen_core.codec.load import load_codec
    from musicgen_core.lm.weights import codec_folder, load_export, read_codec

    device = _device(config.generation.device)
    model, info = load_export(export, device)
    folder = codec_folder(export) or read_where(where).codec
    trained = read_codec(info)
    codec = load_codec(folder, device, trained.num_channels)
    check_codec(trained, codec.spec, folder)
    _warn_of_length(config.generation, info)
    requests = collect_requests(config.generation.prompts, prompts, config.num_prompts)
    shards = TrackAudio(audio, codec.spec) if audio else None
    segment_frames = max(1, round(info["training"]["segment_sec"] * codec.spec.frame_rate_hz))
    rows = [make_row(request, model, shards, segment_frames) for request in requests]
    with atomic_folder(out) as temporary:
        records = _make_samples(model, codec, requests, rows, config.generation, temporary)
        write_json(temporary / "samples.json", records)
    took = sum(record["took_sec"] for record in records)
    say(f"{len(records)} samples of {config.generation.duration_sec:g} s in {took:.1f} s, in {out}")


def collect_requests(prompts: Sequence[str | PromptConfig], manifests: list[Path], num_prompts: int) -> list[Request]:
    """Prompts of the config, the first captions of each manifest without repetition, and one request without words."""
    asked = [PromptConfig(text=prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
    asked = [prompt for number, prompt in enumerate(asked) if prompt not in asked[:number]]
    requests = [Request(prompt.text, "prompt", more=prompt) for prompt in asked]
    known = {prompt.text for prompt in asked}
    for record in [record for path in manifests for record in read_manifest(path)[:num_prompts]]:
        if record.caption and record.caption not in known:
            known.add(record.caption)
            requests.append(Request(record.caption, "held-out", track=record.to_dict()))
    return [*requests, Request(None, "unconditional")]


def make_row(request: Request, model: LanguageModel, shards: TrackAudio | None, segment_frames: int) -> Values:
    """What the model is conditioned on. ValueError names a prompt that asks for a condition the model has not."""
    from musicgen_core.conditioners.recording import AudioConditioner, Recording

    more = request.more
    row: dict[str, Any] = {"description": request.prompt, **more.conditions}
    heard = {name: item for name, item in model.conditioners.items() if isinstance(item, AudioConditioner)}
    if unknown := sorted(set(more.conditions) - (set(model.config.conditions) - set(heard))):
        raise ValueError(
            f"prompt {request.prompt!r}: the model is not conditioned on {', '.join(unknown)}, but on "
            f"{list(model.fusions)}"
        )
    recording = None
    if more.melody is not None:
        if not heard:
            raise ValueError(
                f"prompt {request.prompt!r} has the melody {more.melody}, but this model is not conditioned on "
                "recordings; leave it out, or train with model.conditions: {self_wav: {kind: chroma}}"
            )
        recording = read_melody(Path(more.melody), more.melody_start_sec)
    elif request.track is not None:
        row |= {name: request.track.get(name) for name in model.config.conditions}
        if heard and shards is not None:
            wav_BCN, num_valid_B = shards.read([request.track], [0], segment_frames)
            recording = Recording(wav_BCN[0, :, : num_valid_B[0]], shards.codec.sample_rate_hz)
    for name, conditioner in heard.items():
        if recording is not None:
            row[name] = recording
        elif conditioner.takes_text:
            row[name] = request.prompt
    return row if any(value is not None for value in row.values()) else None


def read_melody(path: Path, start_sec: float) -> Recording:
    """Decode a file from `start_sec` on. ValueError when nothing is left of it."""
    from musicgen_core.conditioners.recording import Recording

    wav_CN, sample_rate_hz = native.decode(path)
    start = round(start_sec * sample_rate_hz)
    if start >= wav_CN.shape[1]:
        raise ValueError(
            f"{path}: has {wav_CN.shape[1] / sample_rate_hz:.1f} s, but its melody is to begin at {start_sec:g} s; "
            "lower melody_start_sec"
        )
    return Recording(wav_CN[:, start:], sample_rate_hz)


def check_codec(trained: CodecSpec, found: CodecSpec, folder: Path) -> None:
    """ValueError with both values unless the codec is the one whose codes the model was trained on."""
    for key in ("sample_rate_hz", "num_channels", "num_codebooks", "card", "hop_samples", "digest"):
        expected, actual = getattr(trained, key), getattr(found, key)
        if expected != actual:
            raise ValueError(
                f"the model was trained on codec {trained.name} with {key} {expected}, but {folder} has {actual}; "
                "set `codec` in config.yaml to the codec of the training, or train again"
            )


def _make_samples(
    model: LanguageModel,
    codec: Codec,
    requests: list[Request],
    rows: list[Values],
    config: GenerationConfig,
    folder: Path,
) -> list[dict[str, Any]]:
    """Generate, decode and write every request; -> the lines of samples.json, in order."""
    from musicgen_core.lm.generate import generate

    spec = codec.spec
    num_frames = math.ceil(config.duration_sec * spec.frame_rate_hz)
    steps_per_batch = model.pattern(num_frames).num_steps - 1
    num_batches = math.ceil(len(requests) / BATCH_SIZE)
    ticks = progress(range(num_batches * steps_per_batch), "generate (steps)")
    next(ticks)

    def tick(done: int, total: int) -> None:
        next(ticks, None)

    records = []
    for first in range(0, len(requests), BATCH_SIZE):
        started = time.monotonic()
        batch = requests[first : first + BATCH_SIZE]
        codes_BKT = generate(
            model,
            rows[first : first + BATCH_SIZE],
            num_frames,
            config,
            on_step=tick,
            first_sample=first,
        )
        wavs = [codec.decode(codes_1KT)[0].float().cpu().numpy() for codes_1KT in codes_BKT.split(1)]
        took_sec = (time.monotonic() - started) / len(batch)
        for number, (request, wav_CN) in enumerate(zip(batch, wavs, strict=True), first):
            wav_CN = wav_CN[:, : round(config.duration_sec * spec.sample_rate_hz)]
            gain = write_wav(folder / f"{number:03d}.wav", wav_CN, spec.sample_rate_hz)
            records.append(
                {
                    "file": f"{number:03d}.wav",
                    "prompt": request.prompt,
                    "source": request.source,
                    "sample": number,
                    "seed": config.seed,
                    "top_k": config.top_k,
                    "top_p": config.top_p,
                    "temperature": config.temperature,
                    "cfg_coef": config.cfg_coef,
                    "duration_sec": wav_CN.shape[1] / spec.sample_rate_hz,
                    "sample_rate_hz": spec.sample_rate_hz,
                    "codes_shape": list(codes_BKT.shape[1:]),
                    "gain": gain,
                    "took_sec": round(took_sec, 3),
                    **({"cfg_coef_beta": config.cfg_coef_beta} if config.cfg_coef_beta is not None else {}),
                    **({"melody": request.more.melody} if request.more.melody is not None else {}),
                    **({"conditions": request.more.conditions} if request.more.conditions else {}),
                }
            )
    return records


def write_wav(path: Path, wav_CN: np.ndarray, sample_rate_hz: int) -> float:
    """Write 16-bit PCM; -> the gain that kept it from clipping, 1.0 when none was needed.

    Raises ValueError that names the file when the audio is not finite.
    """
    import soundfile

    if not np.isfinite(wav_CN).all():
        raise ValueError(f"{path.name}: the codec decoded NaN or infinity; its weights or the model's are damaged")
    peak = float(np.abs(wav_CN).max(initial=0.0))
    gain = min(1.0, PEAK / peak) if peak > 0 else 1.0
    if gain < 1.0:
        say(f"{path.name}: peak {peak:.3f} turned down by {-20 * math.log10(gain):.1f} dB")
    soundfile.write(path, wav_CN.T * gain, sample_rate_hz, subtype="PCM_16")
    return gain


def _device(wanted: str) -> str:
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("generation.device is cuda, but torch sees no GPU; set it to auto or cpu")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def _warn_of_length(config: GenerationConfig, info: dict[str, Any]) -> None:
    trained_sec = info["training"]["segment_sec"]
    if config.duration_sec > trained_sec:
        say(f"{config.duration_sec:g} s are asked for, but the model was trained on {trained_sec:g} s: it may drift")
