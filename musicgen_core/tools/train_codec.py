"""`musicgen train-codec`: train the tiny EnCodec on a folder of music, on a CPU, in minutes.

Segments are decoded as they are drawn, so that a corpus may be larger than memory. The codec that the project ships was
trained when they were drawn from all tracks laid end to end in memory: the same recipe gives one as good, not the same.
"""

from __future__ import annotations

import math
import platform
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from musicgen_core import __version__, native
from musicgen_core.codec.fidelity import code_usage, log_spectral_distance_db, si_snr_db
from musicgen_core.codec.load import load_codec
from musicgen_core.codec.tiny import TinyCodecArchitecture, TinyEncodec, tiny_config
from musicgen_core.config.codec_spec import CONFIG_NAME, WEIGHTS_NAME
from musicgen_core.data.audio_segments import AudioSegments
from musicgen_core.data.batch_dataset import BatchesAhead
from musicgen_core.tools.codec_loss import ReconstructionLoss
from musicgen_core.util.atomic import atomic_open, write_json
from musicgen_core.util.digest import digest_lines
from musicgen_core.util.log import progress, say
from musicgen_core.util.streams import CODEC_GAINS

PROVENANCE_NAME = "provenance.json"
_AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".m4a", ".opus")


@dataclass(frozen=True, kw_only=True)
class CodecRecipe:
    """How the tiny codec is trained. Small batches: at this size more steps beat larger ones."""

    batch_size: int = 4
    segment_sec: float = 0.5
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    max_grad_norm: float = 3.0
    time_weight: float = 10.0
    """Weight of the time-domain L1. It alone fixes phases; the log spectra are indifferent to them."""

    autoencoder_share: float = 0.15
    """First share of the steps, without the quantizer: quantising an untrained latent collapses its codebooks."""

    codebook_decay: float = 0.99
    """Decay of the codebooks' moving averages."""

    dead_code_threshold: float = 0.1
    """An entry used less often than this per batch (moving average) is replaced by a latent of the batch."""

    min_gain: float = 0.25
    """Segments are scaled by a gain uniform in [min_gain, 1]."""

    held_out_every: int = 12
    """Every so many-th track is kept from training, and the reconstruction error is measured on it."""


def run(*, corpus: Path, out: Path, steps: int = 8000, seed: int = 0) -> None:
    """Train on the audio files below `corpus` and write {model.safetensors, config.json, provenance.json} to `out`.

    The same corpus, seed, steps and number of threads give the same weights on the same machine. FileNotFoundError
    when the corpus has no audio; ValueError for fewer than 100 steps.
    """
    if steps < 100:
        raise ValueError(f"steps is {steps}; a codec needs at least 100, and thousands to be of use")
    architecture, recipe = TinyCodecArchitecture(), CodecRecipe()
    paths = list_audio(Path(corpus))
    held_out = paths[:: recipe.held_out_every]
    training = [path for number, path in enumerate(paths) if number % recipe.held_out_every] or paths
    keys = [native.hash_file(path) for path in paths]
    started = time.monotonic()
    model = train(architecture, recipe, training, steps, seed)
    minutes = (time.monotonic() - started) / 60

    out = Path(out)
    with atomic_open(out / WEIGHTS_NAME, "wb") as handle:
        handle.write(save(model.export_state()))
    write_json(out / CONFIG_NAME, tiny_config(architecture))
    reconstruction, duration_min = measure(out, held_out, paths)
    provenance = {
        "command": f"musicgen train-codec --corpus CORPUS --out OUT --steps {steps} --seed {seed}",
        "corpus": {
            "digest": digest_lines(sorted(keys)),
            "num_tracks": len(paths),
            "duration_min": round(duration_min, 2),
        },
        "training": {"steps": steps, "seed": seed, "minutes": round(minutes, 1), **asdict(recipe)},
        "num_threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "musicgen-core": __version__,
            **{name: version(name) for name in ("torch", "encodec", "numpy")},
        },
        "reconstruction": reconstruction,
    }
    write_json(out / PROVENANCE_NAME, provenance)
    say(f"{out}: {minutes:.1f} min, {provenance['reconstruction']}")


def list_audio(corpus: Path) -> list[Path]:
    """Every audio file, in order of path."""
    paths = sorted(path for path in corpus.rglob("*") if path.suffix.lower() in _AUDIO_SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"{corpus}: no audio; make some by `musicgen demo-corpus`")
    return paths


def train(
    architecture: TinyCodecArchitecture, recipe: CodecRecipe, paths: list[Path], steps: int, seed: int
) -> TinyEncodec:
    """The loop: autoencoder first, then codebooks by k-means, then all together. Returns the model in eval mode."""
    torch.manual_seed(seed)  # initial weights, and the encodec package's k-means and dead-code draws
    model = TinyEncodec(architecture).train()
    for codebook in model.codebooks():
        codebook.decay, codebook.threshold_ema_dead_code = recipe.codebook_decay, recipe.dead_code_threshold
        codebook.kmeans_iters = 10
    loss_function = ReconstructionLoss(architecture.sample_rate_hz, recipe.time_weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))
    hop = int(model.encoder.hop_length)
    segments = AudioSegments(
        paths,
        seed=seed,
        batch_size=recipe.batch_size,
        segment_sec=round(recipe.segment_sec * architecture.sample_rate_hz / hop) * hop / architecture.sample_rate_hz,
        sample_rate_hz=architecture.sample_rate_hz,
    )
    num_plain_steps = round(steps * recipe.autoencoder_share)

    with BatchesAhead(segments) as batches:
        for step in progress(range(steps), "train-codec"):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _schedule(step, steps, recipe.warmup_steps)
            wav_B1N = next(batches).wav_BCN * _draw_gains(recipe, seed, step)
            if step < num_plain_steps:
                output_B1N, commitment = model.decoder(model.encoder(wav_B1N)), torch.zeros(())
            else:
                if step == num_plain_steps:
                    _initialize_codebooks(model, segments)
                output_B1N, _, commitment = model(wav_B1N)
            loss = loss_function(output_B1N, wav_B1N) + commitment
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm, error_if_nonfinite=True)
            optimizer.step()
            if (step + 1) % 1000 == 0:
                say(f"step {step + 1}: loss {loss.item():.3f}, commitment {commitment.item():.3f}")
    return model.eval()


def _schedule(step: int, steps: int, warmup_steps: int) -> float:
    return min(1.0, (step + 1) / warmup_steps) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def _draw_gains(recipe: CodecRecipe, seed: int, step: int) -> torch.Tensor:
    """float32 [B, 1, 1], uniform."""
    gains_B = native.uniform(seed, CODEC_GAINS, step, np.arange(recipe.batch_size))
    return torch.from_numpy(recipe.min_gain + (1.0 - recipe.min_gain) * gains_B).float()[:, None, None]


@torch.no_grad()
def _initialize_codebooks(model: TinyEncodec, segments: AudioSegments) -> None:
    """One pass over 64 segments spread over the corpus, on which the package runs its k-means."""
    ends = segments.num_samples.cumsum()
    places = np.linspace(0, ends[-1] - 1, 64).astype(np.int64)
    files = np.searchsorted(ends, places, side="right")
    starts = places - (ends - segments.num_samples)[files]
    latest = np.maximum(0, segments.num_samples[files] - segments.segment_samples)
    wav_BCN, _ = segments.cut(files, np.minimum(starts, latest))
    model(wav_BCN)


def measure(folder: Path, held_out: list[Path], paths: list[Path]) -> tuple[dict[str, Any], float]:
    """-> reconstruction error of a written codec on held-out tracks and the use of its codebooks over all tracks; and
    how long these are in minutes."""
    codec = load_codec(folder)
    ratios, distances, codes, num_samples = [], [], [], 0
    for path in progress(paths, "measure"):
        wav_CN, rate_hz = native.decode(path)
        wav_1N = native.resample(native.mix(wav_CN, 1), rate_hz, codec.spec.sample_rate_hz)
        reference_BCN = torch.from_numpy(wav_1N)[None]
        codes_BKT = codec.encode(reference_BCN)
        codes.append(codes_BKT[0])
        num_samples += wav_1N.shape[1]
        if path in held_out:
            output_BCN = codec.decode(codes_BKT)[..., : wav_1N.shape[1]]
            ratios.append(si_snr_db(output_BCN, reference_BCN).item())
            distances.append(log_spectral_distance_db(output_BCN, reference_BCN).item())
    usage = code_usage(torch.cat(codes, dim=1), codec.spec.card)
    reconstruction = {
        "held_out_tracks": len(held_out),
        "si_snr_db": round(float(np.mean(ratios)), 2),
        "log_spectral_distance_db": round(float(np.mean(distances)), 2),
        "codebooks": [{key: round(value, 2) for key, value in row.items()} for row in usage],
    }
    return reconstruction, num_samples / codec.spec.sample_rate_hz / 60
