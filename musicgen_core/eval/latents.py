"""Frames of codec latents of many pieces of audio, and the Fréchet figures over them.

Legend: C channels, N samples, T frames, D width of the latents.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from musicgen_core.codec.base import Codec
from musicgen_core.eval.figure import Figure, missing
from musicgen_core.eval.frechet import fit_gaussian, frechet_distance
from musicgen_core.util.log import progress

UNIT = "squared latent units"


@torch.inference_mode()
def latent_frames(codec: Codec, wavs: Sequence[np.ndarray], device: torch.device, what: str) -> list[np.ndarray]:
    """frames_TD float32 of each wav_CN, which must be at the codec's rate and channels."""
    frames = []
    for wav_CN in progress(wavs, f"latents of {what}"):
        latents_BDT = codec.latents(torch.from_numpy(np.ascontiguousarray(wav_CN))[None].to(device))
        frames.append(latents_BDT[0].T.float().cpu().numpy())
    return frames


def frechet_figure(
    pieces: Sequence[np.ndarray], reference: Sequence[np.ndarray], note: str, unit: str = UNIT
) -> Figure:
    """Distance between all frames of `pieces` and all frames of `reference`, with how many there were of each."""
    num_frames = {"frames": sum(map(len, pieces)), "reference_frames": sum(map(len, reference))}
    if min(num_frames.values()) < 2:
        return missing(unit, f"{min(num_frames.values())} frames; at least 2 are needed")
    width = reference[0].shape[1]
    if min(num_frames.values()) <= width:
        note += f" Fewer frames than the {width} dimensions of the latents: read with care."
    value = frechet_distance(fit_gaussian(np.concatenate(pieces)), fit_gaussian(np.concatenate(reference)))
    return Figure(value=value, unit=unit, samples={"clips": len(pieces), **num_frames, "dimensions": width}, note=note)


def split_halves(pieces: Sequence[np.ndarray], tracks: Sequence[str]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two sets of about equal size that share no track; of a single track, two sets that share no piece."""
    names = list(tracks) if len(set(tracks)) > 1 else [str(i) for i in range(len(tracks))]
    groups: dict[str, list[np.ndarray]] = {}
    for name, piece in zip(names, pieces, strict=True):
        groups.setdefault(name, []).append(piece)
    halves: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for group in sorted(groups.values(), key=lambda group: -sum(map(len, group))):
        smaller = min(halves, key=lambda half: sum(map(len, half)))
        smaller.extend(group)
    return halves
