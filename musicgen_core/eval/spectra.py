"""Magnitude and mel spectrograms, for distances and for pictures. No torchaudio: a filter bank is one page.

Legend: C channels, N samples, F frequency bins, M mel bands, T frames.
"""

from __future__ import annotations

import numpy as np
import torch


def magnitudes(wav_CN: torch.Tensor, window_samples: int) -> torch.Tensor:
    """|STFT| [C,F,T] with a Hann window and a hop of a quarter window, scaled so that a full-scale sine peaks near 1.

    Audio shorter than the window is padded with zeros to its length.
    """
    if wav_CN.shape[-1] < window_samples:
        wav_CN = torch.nn.functional.pad(wav_CN, (0, window_samples - wav_CN.shape[-1]))
    window = torch.hann_window(window_samples, dtype=wav_CN.dtype, device=wav_CN.device)
    spectrum = torch.stft(
        wav_CN, window_samples, hop_length=window_samples // 4, window=window, center=False, return_complex=True
    )
    return spectrum.abs() * (2 / window.sum())


def mel_filters(sample_rate_hz: int, window_samples: int, num_mels: int) -> torch.Tensor:
    """Triangular filters [M,F], float32, from 0 Hz to half the rate, each summing to 1.

    Bands lie evenly on mel = 2595 log10(1 + f/700) (O'Shaughnessy 1987). A band narrower than one bin takes the bin
    nearest to its centre, so that no band is empty.
    """
    top = 2595 * np.log10(1 + sample_rate_hz / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top, num_mels + 2) / 2595) - 1)
    bins_hz = np.arange(window_samples // 2 + 1) * sample_rate_hz / window_samples
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    filters = np.clip(np.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)), 0, None)
    empty = np.flatnonzero(filters.sum(axis=1) == 0)
    filters[empty, np.abs(bins_hz[None] - centre[empty]).argmin(axis=1)] = 1
    return torch.from_numpy(filters / filters.sum(axis=1, keepdims=True)).float()


def decibels(magnitude: torch.Tensor, floor_db: float) -> torch.Tensor:
    """20 log10, held at `floor_db` from below."""
    return 20 * torch.log10(magnitude.clamp_min(10 ** (floor_db / 20)))
