"""How far a codec's reconstruction is from what went in, and how much of its codebooks it uses."""

from __future__ import annotations

import torch

LOG_FLOOR = 1e-5
"""Magnitudes below this (-100 dB re a full-scale bin) count as this."""


def si_snr_db(wav_BCN: torch.Tensor, reference_BCN: torch.Tensor) -> torch.Tensor:
    """Scale-invariant signal-to-noise ratio in dB, float32 [B] (arXiv 1811.02508), over all channels together."""
    wav_BN = wav_BCN.flatten(1) - wav_BCN.flatten(1).mean(1, keepdim=True)
    reference_BN = reference_BCN.flatten(1) - reference_BCN.flatten(1).mean(1, keepdim=True)
    energy_B1 = reference_BN.square().sum(1, keepdim=True).clamp_min(1e-12)
    target_BN = (wav_BN * reference_BN).sum(1, keepdim=True) / energy_B1 * reference_BN
    ratio_B = target_BN.square().sum(1) / (wav_BN - target_BN).square().sum(1).clamp_min(1e-12)
    return 10.0 * ratio_B.clamp_min(1e-12).log10()


def log_spectral_distance_db(
    wav_BCN: torch.Tensor, reference_BCN: torch.Tensor, windows: tuple[int, ...] = (256, 1024, 4096)
) -> torch.Tensor:
    """Mean over windows of the RMS difference of log magnitude spectra, in dB, float32 [B].

    Hann windows of so many samples with hops of a quarter; magnitudes are floored 80 dB below the reference's largest
    bin, so that silence and what lies far below the music do not count.
    """
    distances = []
    for window in windows:
        reference_BFT = stft_magnitude(reference_BCN.flatten(0, 1), window).unflatten(0, reference_BCN.shape[:2])
        wav_BFT = stft_magnitude(wav_BCN.flatten(0, 1), window).unflatten(0, wav_BCN.shape[:2])
        floor = reference_BFT.flatten(1).amax(1).clamp_min(LOG_FLOOR).view(-1, 1, 1, 1) * 1e-4
        difference = 20.0 * (wav_BFT.maximum(floor).log10() - reference_BFT.maximum(floor).log10())
        distances.append(difference.square().mean(2).sqrt().flatten(1).mean(1))
    return torch.stack(distances).mean(0)


def stft_magnitude(wav_BN: torch.Tensor, window: int) -> torch.Tensor:
    """Magnitudes [B, window // 2 + 1, frames], scaled so that a full-scale sine gives about 0.5."""
    hann = torch.hann_window(window, device=wav_BN.device)
    spectrum = torch.stft(wav_BN, window, window // 4, window=hann, return_complex=True, pad_mode="constant")
    return spectrum.abs() / hann.sum()


def code_usage(codes_KT: torch.Tensor, card: int) -> list[dict[str, float]]:
    """Per codebook: entries used, entropy in bits and perplexity of the distribution of codes."""
    usage = []
    for codes_T in codes_KT.long():
        share_C = torch.bincount(codes_T, minlength=card).double() / len(codes_T)
        share_C = share_C[share_C > 0]
        entropy_bits = float(-(share_C * share_C.log2()).sum())
        usage.append({"used": len(share_C), "entropy_bits": entropy_bits, "perplexity": 2.0**entropy_bits})
    return usage
