"""Are the stored codes what this codec makes of this audio, codebook by codebook?

A few tracks are encoded again. In a sound corpus nearly all codes agree; where they do not, the share of stored codes
of codebook i that equal new codes of codebook j says whether codebooks were exchanged, and encoding the file as if its
samples were at the codec's rate says whether it was tokenised without resampling.

Legend: K codebooks, T frames, C channels, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from musicgen_core import native
from musicgen_core.codec.base import Codec, encode_track
from musicgen_core.config.data import TokenizeConfig
from musicgen_core.data.manifest import ManifestRecord
from musicgen_core.preflight.finding import Finding
from musicgen_core.preflight.material import Material

SAME, CLEARLY = 0.8, 0.5
"""Share of equal codes: of codebooks that are the same, and of a cause that explains the codes."""

EDGE_FRAMES = 8
"""At the end of an excerpt, where a codec sees less of what follows than it did of the whole track."""


def check_codes(
    material: Material, records: Sequence[ManifestRecord], originals: Sequence[np.ndarray], config: TokenizeConfig
) -> Finding:
    """`originals` are the starts of these tracks, wav_CN at the codec's rate."""
    stored, fresh = [], []
    for record, wav_CN in zip(records, originals, strict=True):
        again_KT = encode_track(material.codec, wav_CN, config)
        stored_KT = material.read_codes(record, again_KT.shape[1])
        length = max(1, min(stored_KT.shape[1], again_KT.shape[1]) - EDGE_FRAMES)
        stored.append(stored_KT[:, :length])
        fresh.append(again_KT[:, :length])
    agreement_KK = measure_agreement(np.concatenate(stored, axis=1), np.concatenate(fresh, axis=1))
    shares = np.diag(agreement_KK)
    figures = {"agreement": agreement_KK.tolist(), "tracks": [record.path for record in records]}
    said = ", ".join(f"{share:.0%}" for share in shares)
    if shares.min() >= SAME:
        return Finding(
            check="codebooks",
            level="ok",
            text=f"{said} of the codes of codebooks 0 to {len(shares) - 1} are those that the codec makes of "
            f"{len(records)} tracks again",
            figures=figures,
        )
    order = find_order(agreement_KK)
    if order is not None:
        moved = [f"stored {i} is the codec's {j}" for i, j in enumerate(order) if i != j]
        text = f"swapped codebooks: {', '.join(moved)} ({said} agree in place, {_along(agreement_KK, order)} so)"
        return _problem(text, "order the rows of the codes as the codec does, and write the shards again", figures)
    for record in records:
        share = _try_without_resampling(material, record, config)
        if share is not None and share > CLEARLY:
            text = (
                f"wrong sample rate: the codes are those of {record.sample_rate} Hz audio taken for "
                f"{material.spec.sample_rate_hz} Hz ({share:.0%} of the codes of {record.path} agree so; {said} as "
                "they should)"
            )
            return _problem(text, "delete results/tokens and run snakemake again", figures)
    text = f"foreign codes: only {said} of the stored codes are those that this codec makes of this audio"
    remedy = "the codes come from another codec, or from other audio: delete results/tokens and run snakemake again"
    return _problem(text, remedy, figures)


def measure_agreement(stored_KT: np.ndarray, fresh_KT: np.ndarray) -> np.ndarray:
    """[K, K]: share of frames where stored codebook i equals fresh codebook j."""
    return (stored_KT[:, None] == fresh_KT[None]).mean(axis=2)


def find_order(agreement_KK: np.ndarray) -> list[int] | None:
    """For each stored codebook the codec's that it is, when that is another order; None when there is none such."""
    order = agreement_KK.argmax(axis=1).tolist()
    clear = agreement_KK.max(axis=1).min() >= CLEARLY
    return order if clear and sorted(order) == list(range(len(order))) and order != sorted(order) else None


def decode_codes(codec: Codec, codes_KT: np.ndarray, num_samples: int) -> np.ndarray:
    """wav_CN float32 of the codes, cut or filled with silence to so many samples."""
    import torch

    decoded_CN = codec.decode(torch.from_numpy(codes_KT.astype(np.int64))[None])[0].cpu().numpy()
    return np.pad(decoded_CN[:, :num_samples], ((0, 0), (0, max(0, num_samples - decoded_CN.shape[1]))))


def _try_without_resampling(material: Material, record: ManifestRecord, config: TokenizeConfig) -> float | None:
    """Share of stored codes that equal those of the file's samples, taken for samples at the codec's rate."""
    spec, path = material.spec, material.folders[record.corpus] / record.path
    if record.sample_rate == spec.sample_rate_hz or not path.is_file():
        return None
    wav_CN, _ = native.decode(path)
    excerpt_CN = native.mix(wav_CN, spec.num_channels)[:, : 10 * spec.sample_rate_hz]
    again_KT = encode_track(material.codec, np.ascontiguousarray(excerpt_CN), config)
    stored_KT = material.read_codes(record, again_KT.shape[1])
    length = max(1, min(stored_KT.shape[1], again_KT.shape[1]) - EDGE_FRAMES)
    return float((stored_KT[:, :length] == again_KT[:, :length]).mean())


def _along(agreement_KK: np.ndarray, order: Sequence[int]) -> str:
    return ", ".join(f"{agreement_KK[i, j]:.0%}" for i, j in enumerate(order))


def _problem(text: str, remedy: str, figures: dict[str, object]) -> Finding:
    return Finding(check="codebooks", level="problem", text=text, remedy=remedy, figures=figures)
