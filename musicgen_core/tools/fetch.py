"""`musicgen fetch`: bring the hub weights that config.yaml names into the local store. The only networked code."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from musicgen_core import native
from musicgen_core.config.codec_spec import read_codec_spec
from musicgen_core.config.condition import ChromaConditionConfig, ClapConditionConfig, StyleConditionConfig
from musicgen_core.config.data import EncodecCodecConfig
from musicgen_core.config.extractor import PretrainedExtractorConfig
from musicgen_core.config.load import resolve_runs
from musicgen_core.config.model import T5ConditionerConfig
from musicgen_core.config.root import RootConfig
from musicgen_core.config.start import KEY as INIT_FROM
from musicgen_core.config.store import (
    LOCK_NAME,
    asset_folder,
    asset_name,
    check_file,
    read_license,
    read_lock,
    require_commercial,
    resolve_asset,
    store_folder,
)
from musicgen_core.util.atomic import write_json
from musicgen_core.util.log import say

# configs, tokenizers and safetensors at the top of the repository; never pickles
_WANTED = ["*.json", "*.yaml", "*.safetensors", "*.model", "*.txt", "README.md", "LICENSE*"]
_UNWANTED = ["*/*"]


@dataclass(frozen=True, kw_only=True)
class Asset:
    """Something of the hub that the config names."""

    key: str
    """Config key, for messages."""

    hub_id: str
    revision: str
    accept_noncommercial: bool

    @property
    def accept_key(self) -> str:
        return f"{self.key.rpartition('.')[0]}.accept_noncommercial"


def run(config: RootConfig) -> None:
    """Download every hub id of config.yaml at its pinned revision: `codec`, and each run's `conditioner`,
    `model.conditions` and `training.init_from`.

    What the store holds already is verified, not downloaded. ValueError for a revision that is not pinned, for
    non-commercial weights without `accept_noncommercial: true` beside their path, and when the hub gives other bytes
    than the lock records; OSError when the hub cannot be reached.
    """
    assets = list_assets(config)
    for asset in assets:
        fetch_asset(asset)
    if not assets:
        say("nothing to fetch: config.yaml names no hub id with a revision")
    spec, folder = read_codec_spec(config.codec)
    say(f"codec {spec.name}: {spec.sample_rate_hz} Hz, {spec.num_codebooks} x {spec.card}, in {folder}")


def list_assets(config: RootConfig) -> list[Asset]:
    """The config's hub ids, each once. A path without a revision must be a local folder: FileNotFoundError if not."""
    named = []
    codec = config.codec
    if isinstance(codec, EncodecCodecConfig):
        named.append(("codec.path", codec.path, codec.revision, codec.accept_noncommercial))
    for run_config in resolve_runs(config).values():
        conditioner = run_config.conditioner
        if isinstance(conditioner, T5ConditionerConfig):
            named.append(("conditioner.path", conditioner.path, conditioner.revision, True))
        for name, condition in run_config.model.conditions.items():
            if isinstance(condition, ChromaConditionConfig) and condition.separate is not None:
                key = f"model.conditions.{name}.separate.path"
                named.append((key, condition.separate.path, condition.separate.revision, True))
            if isinstance(condition, ClapConditionConfig):
                named.append((f"model.conditions.{name}.path", condition.path, condition.revision, True))
            if isinstance(condition, StyleConditionConfig) and isinstance(
                condition.extractor, PretrainedExtractorConfig
            ):
                heard = condition.extractor
                key = f"model.conditions.{name}.extractor"
                named.append((f"{key}.path", heard.path, heard.revision, heard.accept_noncommercial))
        init = run_config.training.init_from
        if init is not None and init.path is not None:
            named.append((f"{INIT_FROM}.path", init.path, init.revision, init.accept_noncommercial))
    assets = []
    for key, path, revision, accepted in dict.fromkeys(named):
        if revision is None and Path(path).is_file():
            continue
        if revision is None:
            resolve_asset(path, None, key)
            continue
        asset_folder(path, revision)  # refuses what is no id or no commit, before anything is downloaded
        assets.append(Asset(key=key, hub_id=path, revision=revision, accept_noncommercial=accepted))
    return assets


def fetch_asset(asset: Asset) -> None:
    """Make the store hold one asset, whole and as the lock says."""
    folder, name = asset_folder(asset.hub_id, asset.revision), asset_name(asset.hub_id, asset.revision)
    known = read_lock().get(name)
    if known is not None and _is_whole(folder, known["files"]):
        require_commercial(known["license"], asset.hub_id, asset.accept_noncommercial, asset.accept_key)
        say(f"{name}: already in {store_folder()}, verified")
        return
    partial = folder.with_name(f".{folder.name}.partial")  # kept on failure: the next call goes on from it
    _download(asset, partial, ["README.md"])
    license_name = read_license(partial)
    require_commercial(license_name, asset.hub_id, asset.accept_noncommercial, asset.accept_key)
    _download(asset, partial, _WANTED)
    shutil.rmtree(partial / ".cache", ignore_errors=True)  # the hub client's own notes
    digests = {path.name: native.hash_file(path) for path in sorted(partial.iterdir())}
    if known is not None and known["files"] != digests:
        changed = sorted(n for n in known["files"].keys() | digests.keys() if known["files"].get(n) != digests.get(n))
        raise ValueError(
            f"{name}: {len(changed)} of {len(digests)} files differ from {LOCK_NAME} ({changed[0]}); a pinned revision "
            "cannot change, so either was tampered with. Delete the lock's entry only if you trust the hub's copy"
        )
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    lock = {**read_lock(), name: {"license": license_name, "files": digests}}
    write_json(store_folder() / LOCK_NAME, {"version": 1, "assets": lock})
    say(f"{name}: {len(digests)} files, licence {license_name or 'not stated'}")


def _is_whole(folder: Path, files: dict[str, str]) -> bool:
    try:
        for name, digest in files.items():
            check_file(folder / name, digest)
    except (FileNotFoundError, ValueError) as error:
        say(f"{error}; fetching again")
        return False
    return True


def _download(asset: Asset, folder: Path, patterns: list[str]) -> None:
    from huggingface_hub import snapshot_download

    folder.mkdir(parents=True, exist_ok=True)
    try:
        snapshot_download(
            asset.hub_id, revision=asset.revision, local_dir=folder, allow_patterns=patterns, ignore_patterns=_UNWANTED
        )
    except Exception as error:  # the client raises some forty types, of three libraries
        raise OSError(
            f"{asset.key}: {asset.hub_id}@{asset.revision[:8]} could not be fetched ({type(error).__name__}: {error}). "
            f"Where there is no network, copy the files by hand and set {asset.key} to their folder, without revision"
        ) from error
