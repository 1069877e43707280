"""What music there is, what of it is used, and how it is prepared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """One folder of music."""

    path: str
    """Folder that holds the audio, searched recursively; relative to the working directory."""

    captions: str | tuple[str, ...] = ("json", "txt", "tags")
    """Where words come from, first match wins per field: `json` (AudioCraft sidecar), `txt` (sidecar), `tags` (in the
    file), or the path of a .csv/.jsonl table inside the folder. One string or a list."""

    license: str | None = None
    """Licence of tracks whose metadata names none."""

    licenses: tuple[str, ...] | None = None
    """Licences that may be trained on; tracks under any other are rejected by name. null: no gate."""

    group_by: Literal["artist", "album", "track"] = "artist"
    """Tracks of one group never cross splits. A track without artist goes by its album; without that field it is its
    own group."""

    weight: float = 1.0
    """Relative weight of each of this corpus's tracks when segments are drawn for training; a track's own `weight`,
    from its sidecar or table, multiplies it."""

    num_buckets: int = 4
    """Shards the corpus is cut into; aim at 128-256 tracks each. Changing it re-does the corpus."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Rules that hold for every corpus."""

    min_duration_sec: float = 1.0
    """Shorter tracks are rejected (inclusive bound: a track of exactly this length stays)."""

    max_duration_sec: float | None = None
    """Longer tracks are rejected; null: no limit."""

    silence_dbfs: float = -60.0
    """Tracks whose loudest sample stays below this are rejected as silent."""

    allow_uncaptioned: bool = False
    """Train although no track has a caption; otherwise that is an error."""

    valid_fraction: float = 0.1
    """Share of groups used for validation during training (at least one group)."""

    evaluate_fraction: float = 0.1
    """Share of groups held out for the final evaluation (at least one group)."""

    split_salt: str = "0"
    """Changes which groups fall into which split."""

    num_prompts: int = 4
    """Held-out captions of each corpus used as prompts: the first ones of generate.jsonl."""


@dataclass(frozen=True, kw_only=True)
class AudioConfig:
    """How audio is prepared before it is tokenised. Rate and channels are the codec's."""

    resampler: Literal["julius24", "hq"] = "julius24"
    """`julius24` is AudioCraft's filter, so that codes are as AudioCraft would make them; `hq` keeps more treble and
    lets through no aliases, at three times the filter's cost (docs/resampling.md)."""

    loudness_lufs: float | None = None
    """Integrated loudness every track is brought to; null: left as it is."""

    true_peak_dbtp: float = -1.0
    """Ceiling that the loudness gain may not exceed."""

    trim_silence_dbfs: float | None = None
    """Leading and trailing audio below this is cut; null: nothing is cut."""


@dataclass(frozen=True, kw_only=True)
class TinyCodecConfig:
    """The small EnCodec that the project trains and ships; for demos and tests."""

    kind: Literal["tiny"] = "tiny"

    path: str | None = None
    """Folder written by `musicgen train-codec`; null: the shipped one."""

    num_channels: Literal[1, 2] | None = None
    """2 with a mono codec: left and right are coded apart, with twice the codebooks; null: the codec's own."""


@dataclass(frozen=True, kw_only=True)
class EncodecCodecConfig:
    """A transformers EncodecModel, such as the 32 kHz, 4 x 2048, 50 Hz one of MusicGen."""

    kind: Literal["encodec"]

    path: str
    """Local folder with config.json and model.safetensors, or a hub id that `musicgen fetch` has resolved."""

    revision: str | None = None
    """Commit hash of the hub id; required when `path` is a hub id."""

    accept_noncommercial: bool = False
    """Must be true for weights under a non-commercial licence (facebook/encodec_32khz is CC-BY-NC-4.0)."""

    num_channels: Literal[1, 2] | None = None
    """2 with a mono codec: left and right are coded apart, with twice the codebooks; null: the codec's own."""


CodecConfig = TinyCodecConfig | EncodecCodecConfig


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig:
    """How tracks become codes."""

    chunk_sec: float = 30.0
    """Tracks are encoded in chunks of this length, so that memory does not grow with the track."""

    overlap_sec: float = 1.0
    """Context given to the codec on both sides of a chunk and dropped from its codes."""


@dataclass(frozen=True, kw_only=True)
class CodecSpec:
    """What the rest of the pipeline needs to know of a codec without loading it."""

    name: str
    """Short name, part of paths: `tiny`, `encodec_32khz`."""

    digest: str
    """BLAKE3 of the codec's files, 32 hex digits; part of every token path and run signature."""

    sample_rate_hz: int
    num_channels: int
    num_codebooks: int
    card: int
    """Entries per codebook; codes lie in [0, card)."""

    hop_samples: int
    """Samples per frame of codes; frame rate = sample_rate_hz / hop_samples."""

    interleaved: bool = False
    """A mono codec codes each channel apart, and their codebooks alternate: L1, R1, L2, R2, ..."""

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.hop_samples
