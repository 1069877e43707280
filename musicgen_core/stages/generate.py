"""Generate: audio from prompts, from held-out captions, from no words at all, and on from recordings, with an exported
model."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musicgen_core import native
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.evaluation import ContinuationConfig, GenerationConfig
from musicgen_core.config.prompt import PromptConfig
from musicgen_core.config.prompt_files import find_recordings
from musicgen_core.config.root import GenerateStageConfig
from musicgen_core.data.manifest import read_manifest
from musicgen_core.data.plan import read_where
from musicgen_core.data.track_audio import TrackAudio
from musicgen_core.util.atomic import atomic_folder, write_json
from musicgen_core.util.log import progress, say

if TYPE_CHECKING:
    from torch import Tensor

    from musicgen_core.codec.base import Codec
    from musicgen_core.conditioners.recording import AudioConditioner, Recording
    from musicgen_core.lm.model import LanguageModel, Values
    from musicgen_core.lm.windows import Window

BATCH_SIZE = 8
STRIDE_SHARE = 0.6
"""Of a window: MusicGen advances by 18 s of 30 s (audiocraft/models/genmodel.py, `extend_stride`)."""

PEAK = 0.999
"""Louder samples are turned down to this before they are written, so that 16 bits do not clip."""


@dataclass(frozen=True)
class Request:
    """One sample to make."""

    prompt: str | None
    source: str
    """`prompt` (config), `held-out` (generate.jsonl), `unconditional` or `continuation`."""

    continuation: ContinuationConfig | None = None
    """What it goes on from."""

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

    find_recordings(config.generation)
    device = _device(config.generation.device)
    model, info = load_export(export, device)
    folder = codec_folder(export) or read_where(where).codec
    trained = read_codec(info)
    codec = load_codec(folder, device, trained.num_channels)
    check_codec(trained, codec.spec, folder)
    trained_sec = info["training"]["segment_sec"]
    requests = collect_requests(config.generation, prompts, config.num_prompts)
    shards = TrackAudio(audio, codec.spec) if audio else None
    segment_frames = max(1, round(trained_sec * codec.spec.frame_rate_hz))
    rows = [make_row(request, model, shards, segment_frames) for request in requests]
    with atomic_folder(out) as temporary:
        records = _make_samples(model, codec, requests, rows, config.generation, trained_sec, temporary)
        write_json(temporary / "samples.json", records)
    took = sum(record["took_sec"] for record in records)
    say(f"{len(records)} samples of {config.generation.duration_sec:g} s in {took:.1f} s, in {out}")


def collect_requests(config: GenerationConfig, manifests: list[Path], num_prompts: int) -> list[Request]:
    """Prompts of the config, the first captions of each manifest without repetition, one request without words, and the
    recordings to continue."""
    asked = [PromptConfig(text=prompt) if isinstance(prompt, str) else prompt for prompt in config.prompts]
    asked = [prompt for number, prompt in enumerate(asked) if prompt not in asked[:number]]
    requests = [Request(prompt.text, "prompt", more=prompt) for prompt in asked]
    known = {prompt.text for prompt in asked}
    for record in [record for path in manifests for record in read_manifest(path)[:num_prompts]]:
        if record.caption and record.caption not in known:
            known.add(record.caption)
            requests.append(Request(record.caption, "held-out", track=record.to_dict()))
    requests.append(Request(None, "unconditional"))
    return requests + [Request(item.text, "continuation", item) for item in config.continuations]


def make_row(request: Request, model: LanguageModel, shards: TrackAudio | None, segment_frames: int) -> Values:
    """What the model is conditioned on. ValueError names a prompt that asks for a condition the model has not."""
    from musicgen_core.conditioners.recording import AudioConditioner, Recording

    more = request.more
    row: dict[str, Any] = {"description": request.prompt, **more.conditions}
    heard = {name: item for name, item in model.conditioners.items() if isinstance(item, AudioConditioner)}
    texts = {name for name, item in heard.items() if item.takes_text}
    if unknown := sorted(set(more.conditions) - (set(model.config.conditions) - set(heard)) - texts):
        raise ValueError(
            f"prompt {request.prompt!r}: the model is not conditioned on {', '.join(unknown)}, but on "
            f"{list(model.fusions)}"
        )
    given: dict[str, Recording] = {}
    for key, (path, start_sec) in more.recordings.items():
        hearing = [item for item in heard.values() if item.prompt_key == key]
        if not hearing:
            raise ValueError(_unheard(request.prompt, key, path, heard))
        given[key] = read_recording(Path(path), start_sec, key)
        for fault in (item.find_fault(given[key]) for item in hearing):
            if fault is not None:
                raise ValueError(f"prompt {request.prompt!r}: its {key} {path} {fault}")
    if request.track is not None:
        row |= {name: request.track.get(name) for name in model.config.conditions}
        if heard and shards is not None:
            wav_BCN, num_valid_B = shards.read([request.track], [0], segment_frames)
            recording = Recording(wav_BCN[0, :, : num_valid_B[0]], shards.codec.sample_rate_hz)
            given = {item.prompt_key: recording for item in heard.values()}
    for name, conditioner in heard.items():
        if conditioner.prompt_key in given:
            row[name] = given[conditioner.prompt_key]
        elif conditioner.takes_text and row.get(name) is None:
            row[name] = request.prompt
    return row if any(value is not None for value in row.values()) else None


def _unheard(prompt: str | None, key: str, path: str, heard: dict[str, AudioConditioner]) -> str:
    """Why a recording that a prompt names has no place in this model, and the remedy."""
    begin = f"prompt {prompt!r} has the {key} {path}, but this model is not conditioned on "
    if heard:
        others = sorted({item.prompt_key for item in heard.values()})
        return f"{begin}one; it hears {', '.join(heard)}: name the file as {' or '.join(f'`{o}`' for o in others)}"
    example = "{style: {kind: style}}" if key == "style" else "{self_wav: {kind: chroma}}"
    return f"{begin}recordings; leave it out, or train with model.conditions: {example}"


def read_recording(path: Path, start_sec: float, key: str = "melody") -> Recording:
    """Decode a file from `start_sec` on. ValueError when nothing is left of it; `key` is the prompt's."""
    from musicgen_core.conditioners.recording import Recording

    wav_CN, sample_rate_hz = native.decode(path)
    start = round(start_sec * sample_rate_hz)
    if start >= wav_CN.shape[1]:
        raise ValueError(
            f"{path}: has {wav_CN.shape[1] / sample_rate_hz:.1f} s, but its {key} is to begin at {start_sec:g} s; "
            f"lower {key}_start_sec"
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
    trained_sec: float,
    folder: Path,
) -> list[dict[str, Any]]:
    """Generate, decode and write every request; -> the lines of samples.json, in order."""
    import torch

    from musicgen_core.lm.windows import count_steps, generate_long, plan_windows

    spec = codec.spec
    num_frames = math.ceil(config.duration_sec * spec.frame_rate_hz)
    window_frames, stride_frames = window_lengths(config, trained_sec, spec)
    prompts = [_encode_prompt(request, codec) for request in requests]
    batches = _batches([0 if prompt is None else prompt.shape[2] for prompt in prompts])
    plans = [
        plan_windows(num_frames, window_frames, stride_frames, prompt.shape[2] if prompt is not None else 0)
        for prompt in (prompts[batch.start] for batch in batches)
    ]
    _say_windows(plans[0], config, spec)
    ticks = progress(range(sum(count_steps(model, window) for plan in plans for window in plan)), "generate (steps)")
    next(ticks)

    def tick(done: int, total: int) -> None:
        next(ticks, None)

    records = []
    for batch in batches:
        started = time.monotonic()
        known = [prompt for prompt in prompts[batch.start : batch.stop] if prompt is not None]
        codes_BKT = generate_long(
            model,
            rows[batch.start : batch.stop],
            num_frames,
            config,
            window_frames=window_frames,
            stride_frames=stride_frames,
            on_step=tick,
            first_sample=batch.start,
            prompt_BKT=torch.cat(known) if known else None,
        )
        wavs = [codec.decode(codes_1KT)[0].float().cpu().numpy() for codes_1KT in codes_BKT.split(1)]
        took_sec = (time.monotonic() - started) / len(batch)
        for number, wav_CN in zip(batch, wavs, strict=True):
            request = requests[number]
            wav_CN = wav_CN[:, : round(config.duration_sec * spec.sample_rate_hz)]
            gain = write_wav(folder / f"{number:03d}.wav", wav_CN, spec.sample_rate_hz)
            records.append(
                {
                    "file": f"{number:03d}.wav",
                    "prompt": request.prompt,
                    "source": request.source,
                    "continues": None if request.continuation is None else asdict(request.continuation),
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
                    **{key: path for key, (path, _) in request.more.recordings.items()},
                    **({"conditions": request.more.conditions} if request.more.conditions else {}),
                }
            )
    return records


def _batches(known_frames: list[int]) -> list[range]:
    """Requests in order, at most BATCH_SIZE at a time, those of a batch with as many given frames."""
    batches: list[range] = []
    for number, frames in enumerate(known_frames):
        last = batches[-1] if batches else range(0)
        if batches and len(last) < BATCH_SIZE and known_frames[last.start] == frames:
            batches[-1] = range(last.start, number + 1)
        else:
            batches.append(range(number, number + 1))
    return batches


def window_lengths(config: GenerationConfig, trained_sec: float, spec: CodecSpec) -> tuple[int, int]:
    """(frames of a window, frames that it advances). Raises ValueError for a stride as long as the window."""
    window_sec = config.window_sec or trained_sec
    stride_sec = config.extend_stride_sec or STRIDE_SHARE * window_sec
    if stride_sec >= window_sec:
        raise ValueError(
            f"generation.extend_stride_sec {stride_sec:g} must be below the window, {window_sec:g} s; lower it, or "
            "raise generation.window_sec"
        )
    window_frames = max(2, round(window_sec * spec.frame_rate_hz))
    return window_frames, min(max(1, round(stride_sec * spec.frame_rate_hz)), window_frames - 1)


def _encode_prompt(request: Request, codec: Codec) -> Tensor | None:
    """Codes [1, K, T] of what a continuation is given. ValueError names the file and both lengths if it is short."""
    import torch

    item = request.continuation
    if item is None:
        return None
    spec = codec.spec
    num_samples = math.ceil(item.prompt_sec * spec.frame_rate_hz) * spec.hop_samples
    start = round(item.start_sec * spec.sample_rate_hz)
    wav_CN = native.read_segment(
        item.audio, start, num_samples, sample_rate_hz=spec.sample_rate_hz, num_channels=spec.num_channels
    )
    if wav_CN.shape[1] < num_samples:
        raise ValueError(
            f"{item.audio} has {wav_CN.shape[1] / spec.sample_rate_hz:.2f} s from second {item.start_sec:g} on, but "
            f"prompt_sec is {item.prompt_sec:g}; lower prompt_sec or start_sec of this continuation"
        )
    return codec.encode(torch.from_numpy(wav_CN)[None]).cpu()


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


def _say_windows(plan: list[Window], config: GenerationConfig, spec: CodecSpec) -> None:
    if len(plan) > 1:
        length, kept = plan[0].end / spec.frame_rate_hz, plan[1].num_known / spec.frame_rate_hz
        say(
            f"generate: {config.duration_sec:g} s in {len(plan)} windows of {length:g} s, "
            f"each hearing the last {kept:g} s of the one before"
        )
