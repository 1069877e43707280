"""What the tiny codec is trained to make small: no discriminator, so that two cores and minutes are enough."""

from __future__ import annotations

import torch
from torch import nn

from musicgen_core.codec.fidelity import LOG_FLOOR, stft_magnitude


class ReconstructionLoss(nn.Module):
    """Time-domain L1, and L1 of mel and log-mel spectra at several window lengths (arXiv 2210.13438, section 3.4)."""

    def __init__(self, sample_rate_hz: int, time_weight: float = 1.0, spectral_weight: float = 1.0) -> None:
        super().__init__()
        self.time_weight = time_weight
        self.spectral_weight = spectral_weight
        self.windows = (128, 512, 2048)
        for window, num_bands in zip(self.windows, (20, 48, 96), strict=True):
            self.register_buffer(f"mel_{window}", mel_filters(sample_rate_hz, window, num_bands), persistent=False)

    def forward(self, wav_BCN: torch.Tensor, reference_BCN: torch.Tensor) -> torch.Tensor:
        """Scalar loss of a reconstruction against the original."""
        loss = self.time_weight * (wav_BCN - reference_BCN).abs().mean()
        for window in self.windows:
            mel_MF = self.get_buffer(f"mel_{window}")
            mel, target = (mel_MF @ stft_magnitude(w.flatten(0, 1), window) for w in (wav_BCN, reference_BCN))
            difference = (mel + LOG_FLOOR * 10).log() - (target + LOG_FLOOR * 10).log()
            loss = loss + self.spectral_weight / len(self.windows) * (
                difference.abs().mean() + 10.0 * (mel - target).abs().mean()
            )
        return loss


def mel_filters(sample_rate_hz: int, window: int, num_bands: int) -> torch.Tensor:
    """Triangular filters [M, window // 2 + 1], evenly spaced on the mel scale 2595 log10(1 + f / 700), each with sum 1.

    A band narrower than a bin takes the bin nearest to its centre.
    """
    edges_mel = torch.linspace(0.0, 2595.0 * float(torch.tensor(1 + sample_rate_hz / 1400).log10()), num_bands + 2)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    bins_hz = torch.linspace(0.0, sample_rate_hz / 2, window // 2 + 1)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    filters_MF = torch.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)).clamp_min(0.0)
    nearest = (bins_hz - centre).abs().argmin(1)
    filters_MF[torch.arange(num_bands), nearest] += 1e-3
    return filters_MF / filters_MF.sum(1, keepdim=True)
