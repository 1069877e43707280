"""The plan: which buckets there are, and the digests that say what is in them; and where things lie."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class CorpusPlan:
    """One corpus as the rules see it."""

    buckets: dict[str, str]
    """Bucket name -> digest of its sorted keys. Buckets without a track are absent and make no job."""

    metadata_digest: str
    """Digest of metadata.jsonl: words, licences, splits and names."""

    num_used: int
    num_rejected: dict[str, int]
    """Reason code -> files."""

    num_ignored: int
    num_captioned: int
    num_notes: int
    duration_sec: float
    """Of the used tracks, by their headers."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All corpora: plan.json. It holds no path of this machine."""

    config_digest: str
    """Digest of the config the plan was made with."""

    corpora: dict[str, CorpusPlan]

    def to_text(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


def read_plan(path: Path) -> Plan:
    """Read plan.json. Raises ValueError that names the file and the remedy when it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        corpora = {name: CorpusPlan(**corpus) for name, corpus in value["corpora"].items()}
        return Plan(config_digest=value["config_digest"], corpora=corpora)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a plan ({error}); delete it and start snakemake again") from None


@dataclass(frozen=True, kw_only=True)
class Where:
    """where.json: the only file under results/ that says where things lie on this machine. No rule declares it."""

    codec: Path
    """Folder of the codec's weights."""

    corpora: dict[str, Path]
    """Corpus -> its folder."""

    def to_text(self) -> str:
        corpora = {name: str(folder) for name, folder in self.corpora.items()}
        return json.dumps({"codec": str(self.codec), "corpora": corpora}, indent=1, sort_keys=True) + "\n"


def read_where(path: Path) -> Where:
    """Read where.json. Raises ValueError that names the file and the remedy when it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        corpora = {name: Path(folder) for name, folder in value["corpora"].items()}
        return Where(codec=Path(value["codec"]), corpora=corpora)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: does not say where things lie ({error}); start snakemake again") from None
