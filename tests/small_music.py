"""Small corpora and a small codec, made on the spot."""

import json
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 8000


def make_tone(path: Path, frequency_hz: float, duration_sec: float = 1.5, amplitude: float = 0.3) -> Path:
    """Write a decaying tone; the ending of the path decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times_sec = np.arange(round(duration_sec * RATE_HZ)) / RATE_HZ
    samples = amplitude * np.sin(2 * np.pi * frequency_hz * times_sec) * np.exp(-times_sec)
    soundfile.write(path, samples.astype(np.float32), RATE_HZ)
    return path


def make_noise(path: Path, duration_sec: float) -> Path:
    """Write white noise, which no lossless codec makes much smaller."""
    samples = np.random.default_rng(0).normal(0, 0.1, round(duration_sec * RATE_HZ))
    soundfile.write(path, samples.astype(np.float32), RATE_HZ)
    return path


def make_corpus(folder: Path, num_tracks: int, captions: bool = True) -> None:
    """Write tones of different pitch, each with a caption beside it."""
    for number in range(num_tracks):
        make_tone(folder / f"piece {number:02d}.wav", 110.0 * 2 ** (number / 12))
        if captions:
            (folder / f"piece {number:02d}.txt").write_text(f"a tone, number {number}\n")


def make_codec(folder: Path, seed: int = 0, num_codebooks: int = 2) -> Path:
    """Write a codec of the project's own kind with random weights."""
    import torch
    from safetensors.torch import save_file

    from musicgen_core.codec.tiny import TinyCodecArchitecture, TinyEncodec, tiny_config

    torch.manual_seed(seed)
    architecture = TinyCodecArchitecture(
        sample_rate_hz=RATE_HZ, num_codebooks=num_codebooks, card=16, ratios=(8, 5, 4), num_filters=2, dimension=8
    )
    model = TinyEncodec(architecture)
    for codebook in model.codebooks():
        codebook.embed.normal_()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.export_state(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(tiny_config(architecture)))
    return folder
