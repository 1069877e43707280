"""Held-out clips and what the codec makes of them, kept beside the figures so that a reader can listen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from musicgen_core.eval.heldout import Segment
from musicgen_core.util.atomic import atomic_folder, write_json

NUM_CLIPS = 4
CLIPS_NAME = "references.json"


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One held-out excerpt."""

    original: str
    """File beside references.json: the prepared audio, as the model's tokens were made from."""

    reconstruction: str
    """The same through the codec and back."""

    track: str
    corpus: str
    path: str
    title: str | None
    artist: str | None
    license: str | None
    caption: str | None
    start_sec: float
    duration_sec: float


def write_clips(
    folder: Path,
    segments: Sequence[Segment],
    originals: Sequence[np.ndarray],
    reconstructions: Sequence[np.ndarray],
    sample_rate_hz: int,
    frame_rate_hz: float,
) -> None:
    """Fill the folder with at most 4 clips as 16-bit FLAC, of different tracks where there are, and references.json."""
    with atomic_folder(folder) as temporary:
        clips = [
            _write_clip(
                temporary,
                number,
                segments[index],
                originals[index],
                reconstructions[index],
                sample_rate_hz,
                frame_rate_hz,
            )
            for number, index in enumerate(_one_per_track(segments))
        ]
        write_json(temporary / CLIPS_NAME, [asdict(clip) for clip in clips])


def _write_clip(
    folder: Path,
    number: int,
    segment: Segment,
    original_CN: np.ndarray,
    reconstruction_CN: np.ndarray,
    sample_rate_hz: int,
    frame_rate_hz: float,
) -> Clip:
    import soundfile

    record = segment.record
    names = f"{number:03d}.original.flac", f"{number:03d}.reconstruction.flac"
    for name, wav_CN in zip(names, (original_CN, reconstruction_CN), strict=True):
        wav_NC = np.clip(wav_CN, -1, 1).T
        soundfile.write(folder / name, wav_NC, sample_rate_hz, format="FLAC", subtype="PCM_16")
    return Clip(
        original=names[0],
        reconstruction=names[1],
        track=record.track,
        corpus=record.corpus,
        path=record.path,
        title=record.title,
        artist=record.artist,
        license=record.license,
        caption=record.caption,
        start_sec=segment.start_frame / frame_rate_hz,
        duration_sec=original_CN.shape[1] / sample_rate_hz,
    )


def read_clips(folder: Path) -> list[Clip]:
    """Clips of a run. ValueError names the file when it is damaged."""
    path = Path(folder) / CLIPS_NAME
    try:
        return [Clip(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path}: not a list of clips ({error}); re-run the evaluate stage") from None


def _one_per_track(segments: Sequence[Segment]) -> list[int]:
    first: dict[str, int] = {}
    for index, segment in enumerate(segments):
        first.setdefault(segment.record.track, index)
    rest = [index for index in range(len(segments)) if index not in first.values()]
    return [*first.values(), *rest][:NUM_CLIPS]
