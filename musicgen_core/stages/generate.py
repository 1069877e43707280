"""Generate: audio from prompts, from held-out captions, and from no words at all, with an exported model."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.evaluation import GenerationConfig
from musicgen_core.config.root import GenerateStageConfig
from musicgen_core.data.manifest import read_manifest
from musicgen_core.data.plan import read_where
from musicgen_core.util.atomic import atomic_folder, write_json
from musicgen_core.util.log import progress, say

if TYPE_CHECKING:
    from musicgen_core.codec.base import Codec
    from musicgen_core.lm.model import LanguageModel

BATCH_SIZE = 8
PEAK = 0.999
"""Louder samples are turned down to this before they are written, so that 16 bits do not clip."""


@dataclass(frozen=True)
class Request:
    """One sample to make."""

    prompt: str | None
    source: str
    """`prompt` (config), `held-out` (generate.jsonl) or `unconditional`."""


def run(config: GenerateStageConfig, *, export: Path, prompts: list[Path], where: Path, out: Path) -> None:
    """Fill the folder `out` with NNN.wav (16 bit) and samples.json, all or nothing.

    `prompts` are generate.jsonl files, whose first captions follow those of the config; `where` says where the codec
    is when the export carries none. Raises ValueError when that is not the codec the model was trained on, or what it
    decodes is not finite.
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
    with atomic_folder(out) as temporary:
        records = _make_samples(model, codec, requests, config.generation, temporary)
        write_json(temporary / "samples.json", records)
    took = sum(record["took_sec"] for record in records)
    say(f"{len(records)} samples of {config.generation.duration_sec:g} s in {took:.1f} s, in {out}")


def collect_requests(prompts: tuple[str, ...], manifests: list[Path], num_prompts: int) -> list[Request]:
    """Prompts of the config, the first captions of each manifest without repetition, and one request without words."""
    held_out = [r.caption for path in manifests for r in read_manifest(path)[:num_prompts] if r.caption]
    requests = [Request(prompt, "prompt") for prompt in dict.fromkeys(prompts)]
    requests += [Request(caption, "held-out") for caption in dict.fromkeys(held_out) if caption not in prompts]
    return [*requests, Request(None, "unconditional")]


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
    model: LanguageModel, codec: Codec, requests: list[Request], config: GenerationConfig, folder: Path
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
            [request.prompt for request in batch],
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
