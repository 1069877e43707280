"""A picture of a piece of audio: waveform above, mel spectrogram below.

No text is in it: the page writes scales in its own type, which stays readable on a phone.
"""

from __future__ import annotations

import io

import numpy as np
import torch

from musicgen_core.eval.spectra import decibels, magnitudes, mel_filters

WIDTH_PIXELS, HEIGHT_PIXELS = 640, 200
NUM_MELS = 96
FLOOR_DB = -80.0
WAVE_COLOR = "#5b7fb5"
"""At least 3:1 against the page's light and dark background."""


def draw_audio(wav_CN: np.ndarray, sample_rate_hz: int, full_scale: float = 1.0) -> bytes:
    """PNG with a transparent ground. Channels are averaged; the waveform reaches the edge at ±full_scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wav_N = wav_CN.mean(axis=0)
    figure = Figure(figsize=(WIDTH_PIXELS / 100, HEIGHT_PIXELS / 100), dpi=100)
    FigureCanvasAgg(figure)
    wave = figure.add_axes((0, 0.72, 1, 0.28))
    low, high = _envelope(wav_N, WIDTH_PIXELS)
    wave.fill_between(np.arange(len(low)), low, high, color=WAVE_COLOR, linewidth=0.6)
    wave.set(xlim=(0, max(len(low) - 1, 1)), ylim=(-full_scale, full_scale))
    mel = figure.add_axes((0, 0, 1, 0.68))
    mel.imshow(mel_decibels(wav_N, sample_rate_hz), origin="lower", aspect="auto", cmap="magma", vmin=FLOOR_DB, vmax=0)
    for axes in (wave, mel):
        axes.axis("off")
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", transparent=True, metadata={"Software": None}, pil_kwargs={"compress_level": 9}
    )
    return _reduce_colors(buffer.getvalue())


def mel_decibels(wav_N: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Mel spectrogram [M,T] in dB re full scale, at a window of about 64 ms and no more columns than pixels."""
    window = 2 ** round(np.log2(0.064 * sample_rate_hz))
    spectrum_FT = magnitudes(torch.from_numpy(np.ascontiguousarray(wav_N))[None], window)[0]
    mel_MT = decibels(mel_filters(sample_rate_hz, window, NUM_MELS) @ spectrum_FT, FLOOR_DB).numpy()
    group = -(-mel_MT.shape[1] // WIDTH_PIXELS)
    columns = np.array_split(np.arange(mel_MT.shape[1]), -(-mel_MT.shape[1] // group))
    return np.stack([mel_MT[:, c].mean(axis=1) for c in columns], axis=1)


def _envelope(wav_N: np.ndarray, num_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest sample of each column."""
    columns = np.array_split(wav_N, min(num_columns, max(1, len(wav_N))))
    return np.array([c.min(initial=0) for c in columns]), np.array([c.max(initial=0) for c in columns])


def _reduce_colors(png: bytes) -> bytes:
    """128 colours are enough for the eye, at about a third of the bytes."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        reduced = picture.quantize(128, method=Image.Quantize.FASTOCTREE)
    buffer = io.BytesIO()
    reduced.save(buffer, format="png", optimize=True)
    return buffer.getvalue()
