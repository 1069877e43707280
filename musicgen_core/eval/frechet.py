"""Fréchet distance between Gaussians fitted to frames of codec latents.

With latents in place of VGGish embeddings this is the Fréchet audio distance (Kilgour et al. 2019, arXiv:1812.08466).
It needs no second network, and its numbers compare only with numbers of the same codec.

Legend: T frames, D width of the latents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    mean_D: np.ndarray
    covariance_DD: np.ndarray
    num_frames: int


def fit_gaussian(frames_TD: np.ndarray) -> Gaussian:
    """Mean and unbiased covariance in float64. ValueError when there are fewer than two frames or any is not finite."""
    frames = np.asarray(frames_TD, dtype=np.float64)
    if frames.ndim != 2 or len(frames) < 2:
        raise ValueError(f"frames of shape {frames.shape}, but at least 2 frames in a [T,D] array are needed")
    if not np.isfinite(frames).all():
        raise ValueError(f"{int((~np.isfinite(frames)).sum())} of {frames.size} latents are not finite")
    centred = frames - frames.mean(axis=0)
    return Gaussian(
        mean_D=frames.mean(axis=0), covariance_DD=centred.T @ centred / (len(frames) - 1), num_frames=len(frames)
    )


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|μa - μb|² + tr(Σa + Σb - 2 (Σa^½ Σb Σa^½)^½), in squared latent units (Dowson & Landau 1982).

    Both roots are of symmetric matrices, so `eigh` serves and no complex part can arise, even where a covariance is
    singular because there are fewer frames than dimensions; eigenvalues below zero are rounding and count as zero.
    """
    if a.mean_D.shape != b.mean_D.shape:
        raise ValueError(f"latents of width {len(a.mean_D)} and {len(b.mean_D)} cannot be compared: use one codec")
    difference = a.mean_D - b.mean_D
    root_a = _symmetric_root(a.covariance_DD)
    product = root_a @ b.covariance_DD @ root_a
    eigenvalues = np.linalg.eigvalsh((product + product.T) / 2)
    trace_root = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    total = difference @ difference + np.trace(a.covariance_DD) + np.trace(b.covariance_DD) - 2 * trace_root
    return max(float(total), 0.0)


def _symmetric_root(matrix_DD: np.ndarray) -> np.ndarray:
    eigenvalues, vectors = np.linalg.eigh(matrix_DD)
    return (vectors * np.sqrt(np.clip(eigenvalues, 0, None))) @ vectors.T
