"""The weights that training.init_from names: where they are, and their digest."""

from __future__ import annotations

from pathlib import Path

from musicgen_core import native
from musicgen_core.config.start import KEY, InitFromConfig
from musicgen_core.config.store import asset_folder, asset_name, read_lock, resolve_asset, store_folder
from musicgen_core.util.digest import digest_json

WEIGHT_NAMES = ("model*.safetensors", "pytorch_model*.bin", "state_dict.bin")
"""Files with the weights of an export of ours or transformers', and of AudioCraft's; the first that is there counts."""


def find_source(init: InitFromConfig) -> Path:
    """The folder or file that `path` names. FileNotFoundError with the remedy when it is not there."""
    assert init.path is not None
    path = Path(init.path)
    if init.revision is None and path.is_file():
        return path
    return resolve_asset(init.path, init.revision, f"{KEY}.path")


def digest_source(init: InitFromConfig) -> str:
    """Digest of the weights that `path` names, by content; of a hub id's by what the store's lock says of them."""
    assert init.path is not None
    if init.revision is None:
        found = list_weights(find_source(init))
        hashed = native.hash_files(found)
        if bad := [f"{path}: {error}" for path, (_, error) in zip(found, hashed, strict=True) if error]:
            raise OSError(bad[0])
        return digest_json([digest for digest, _ in hashed])
    entry = read_lock().get(asset_name(init.path, init.revision))
    if entry is None:
        raise FileNotFoundError(
            f"{KEY}.path: {init.path}@{init.revision[:8]} is not in {store_folder()}; run `musicgen fetch`"
        )
    names = [path.name for path in list_weights(asset_folder(init.path, init.revision))]
    return digest_json([entry["files"].get(name) for name in names])


def check_source(init: InitFromConfig, planned: str) -> None:
    """ValueError unless the weights at a path are those that the run was planned with, where their digest is given."""
    if init.path is not None and planned and (found := digest_source(init)) != planned:
        raise ValueError(
            f"{KEY}.path: the weights at {init.path} changed since the plan: digest {found[:8]}, planned was "
            f"{planned[:8]}; start snakemake again"
        )


def list_weights(source: Path) -> list[Path]:
    """The files whose bytes are the weights: themselves, or the manifest that has their digests."""
    if source.is_file():
        return [source]
    if (source / "manifest.json").is_file():
        return [source / "manifest.json"]
    best = sorted(source.glob("checkpoints/best-*/manifest.json"))
    if best:
        return best[-1:]
    for pattern in WEIGHT_NAMES:
        if found := sorted(source.glob(pattern)):
            return found
    raise FileNotFoundError(
        f"{KEY}.path: {source} holds no weights; looked for checkpoints/best-* (a run), manifest.json (a checkpoint), "
        f"{', '.join(WEIGHT_NAMES)}"
    )
