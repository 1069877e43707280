"""How the prepared audio sounds by numbers: silence, clipping, a constant offset; and what the codec cannot hold.

Legend: C channels, N samples, K codebooks, T frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from musicgen_core.codec.base import Codec
from musicgen_core.data.manifest import ManifestRecord
from musicgen_core.preflight.finding import Finding, name_some
from musicgen_core.preflight.material import Material

SILENT_DBFS = -60.0
WINDOW_SEC = 0.1
MOSTLY, PARTLY = 0.9, 0.5
"""Shares of a clip that are silent: of one that teaches silence, and of one to look at."""

NUM_LISTENED = 32
CLIPPED_SHARE = 1e-3
OFFSET = 0.05


def check_silence(material: Material) -> Finding:
    """All tracks looked at by their codes; those that may be silent, and a fair draw of the others, by their audio.

    A codec turns digital silence into a few columns of codes; the share of a track's frames that are such a column
    needs no audio.
    """
    columns = silence_columns(material.codec)
    suspects = [
        record for record in material.train if measure_silent_codes(material.read_codes(record), columns) >= PARTLY
    ]
    quiet = [record for record in material.train if record.loudness_lufs is None]
    listened = list(
        {r.track: r for r in [*material.train[:NUM_LISTENED], *suspects, *quiet][: 4 * NUM_LISTENED]}.values()
    )
    wavs = material.read_prepared(listened, None)
    shares = {
        record.path: silent_share(wav_CN, material.spec.sample_rate_hz)
        for record, wav_CN in zip(listened, wavs, strict=True)
    }
    silent = sorted(path for path, share in shares.items() if share >= MOSTLY)
    partly = sorted(path for path, share in shares.items() if PARTLY <= share < MOSTLY)
    figures = {"silent": silent, "partly_silent": partly, "listened": len(listened), "tracks": len(material.train)}
    if silent or partly:
        counted = [f"{len(silent)} silent clips ({name_some(silent)})"] if silent else []
        counted += [f"{len(partly)} clips silent for more than half ({name_some(partly)})"] if partly else []
        return Finding(
            check="silence",
            level="problem" if silent else "warning",
            text=f"{'; '.join(counted)}, among {len(material.train)} tracks",
            remedy="take them out, raise data.silence_dbfs, or set audio.trim_silence_dbfs: the model learns silence",
            figures=figures,
        )
    return Finding(
        check="silence",
        level="ok",
        text=f"no silent clip among {len(material.train)} tracks (codes of all, audio of {len(listened)})",
        figures=figures,
    )


@torch.inference_mode()
def silence_columns(codec: Codec) -> set[bytes]:
    """Columns of codes (uint16) that two seconds of zeros become, away from the edges."""
    spec = codec.spec
    codes_KT = codec.encode(torch.zeros(1, spec.num_channels, 2 * spec.sample_rate_hz))[0].cpu().numpy()
    middle_KT = codes_KT[:, codes_KT.shape[1] // 4 : -(codes_KT.shape[1] // 4)].astype(np.uint16)
    return {column.tobytes() for column in np.ascontiguousarray(middle_KT.T)}


def measure_silent_codes(codes_KT: np.ndarray, columns: set[bytes]) -> float:
    """Share of frames that are a column of silence."""
    if not codes_KT.shape[1]:
        return 1.0
    rows_TK = np.ascontiguousarray(codes_KT.T.astype(np.uint16))
    silent = np.zeros(len(rows_TK), dtype=bool)
    for column in columns:
        silent |= (rows_TK == np.frombuffer(column, dtype=np.uint16)).all(axis=1)
    return float(silent.mean())


def silent_share(wav_CN: np.ndarray, sample_rate_hz: int) -> float:
    """Share of windows of 0.1 s whose loudest channel stays below -60 dBFS (root mean square)."""
    window = max(1, round(WINDOW_SEC * sample_rate_hz))
    count = max(1, wav_CN.shape[1] // window)
    whole_CN = wav_CN[:, : count * window]
    power = np.square(whole_CN.astype(np.float64)).reshape(len(whole_CN), count, -1).mean(axis=2).max(axis=0)
    return float((power < 10 ** (SILENT_DBFS / 10)).mean())


def check_level(records: Sequence[ManifestRecord], originals: Sequence[np.ndarray]) -> Finding:
    """Clipping, offset and level of the excerpts that are listened to."""
    faults = []
    for record, wav_CN in zip(records, originals, strict=True):
        clipped = float((np.abs(wav_CN) >= 0.999).mean())
        offset = float(np.abs(wav_CN.mean(axis=1)).max())
        if clipped > CLIPPED_SHARE:
            faults.append(f"{record.path}: {clipped:.1%} of samples at full scale")
        if offset > OFFSET:
            faults.append(f"{record.path}: a constant offset of {offset:.2f}")
    peaks = [float(np.abs(wav_CN).max(initial=0.0)) for wav_CN in originals]
    levels = [20 * np.log10(max(peak, 1e-6)) for peak in peaks]
    text = f"peaks of {len(peaks)} excerpts from {min(levels):.1f} to {max(levels):.1f} dBFS"
    if faults:
        return Finding(
            check="level",
            level="warning",
            text=f"{text}; {name_some(faults, 3)}",
            remedy="use less loud masters, or set audio.loudness_lufs (it cannot mend what was clipped before)",
            figures={"faults": faults},
        )
    return Finding(check="level", level="ok", text=f"{text}, none clipped", figures={"peaks": peaks})
