"""The local store of external files: where `musicgen fetch` puts them and everything else finds them.

    STORE/                               $MUSICGEN_STORE, else `store` in the working directory
      assets.lock.json                   {"version": 1, "assets": {"OWNER/NAME@REVISION": ASSET}}
      OWNER--NAME/REVISION/              the files, as on the hub

ASSET is {"license": str or null, "files": {name: digest}}, digests as everywhere: 16 bytes of BLAKE3 in hexadecimal.

A folder copied by hand works too: name it in the config by its path, without a revision. Nothing here uses a network.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from musicgen_core import native

LOCK_NAME = "assets.lock.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def store_folder() -> Path:
    return Path(os.environ.get("MUSICGEN_STORE") or "store")


def asset_folder(hub_id: str, revision: str) -> Path:
    """Folder of one asset, whether or not it exists. ValueError for an id or a revision that is not one."""
    if not _HUB_ID.fullmatch(hub_id):
        raise ValueError(f"{hub_id!r} is no hub id: expected OWNER/NAME; a local folder is named without a revision")
    if not _COMMIT.fullmatch(revision):
        raise ValueError(
            f"revision {revision!r} of {hub_id} is not pinned: expected a commit hash of 40 hex digits, got "
            f"{len(revision)} characters; branches and tags may move"
        )
    return store_folder() / hub_id.replace("/", "--") / revision


def resolve_asset(path: str, revision: str | None, what: str) -> Path:
    """The folder that a config's (path, revision) names.

    Without a revision `path` is a local folder. With one it is a hub id, looked up in the store, and every file is
    checked against the lock. FileNotFoundError when absent, ValueError on a digest that differs; `what` is the config
    key for the message, such as `codec.path`.
    """
    if revision is None:
        folder = Path(path)
        if not folder.is_dir():
            hint = f"; if it is a hub id, set {what.split('.')[0]}.revision" if _HUB_ID.fullmatch(path) else ""
            raise FileNotFoundError(f"{what}: no folder {path}{hint}")
        return folder
    folder = asset_folder(path, revision)
    entry = read_lock().get(asset_name(path, revision))
    if entry is None:
        raise FileNotFoundError(f"{what}: {path}@{revision[:8]} is not in {store_folder()}; run `musicgen fetch`")
    for name, expected in sorted(entry["files"].items()):
        check_file(folder / name, expected)
    return folder


def check_file(path: Path, expected: str) -> None:
    """FileNotFoundError or ValueError unless the file has the digest that the lock records."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: listed in {LOCK_NAME} but absent; run `musicgen fetch`")
    found = native.hash_file(path)
    if found != expected:
        raise ValueError(f"{path}: digest {found}, but {LOCK_NAME} has {expected}; run `musicgen fetch` again")


def asset_name(hub_id: str, revision: str) -> str:
    return f"{hub_id}@{revision}"


def read_lock() -> dict[str, Any]:
    """Assets of the store's lock by name; empty when there is none. ValueError names a file that is no lock."""
    path = store_folder() / LOCK_NAME
    try:
        return json.loads(path.read_text(encoding="utf-8"))["assets"]
    except FileNotFoundError:
        return {}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a lock file ({error}); delete it and run `musicgen fetch`") from None


def read_license(folder: Path) -> str | None:
    """Licence in the front matter of the folder's README.md (the hub's model card); None when it names none."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    front = text.split("\n---", 1)[0] if text.startswith("---") else ""
    match = re.search(r"^license:\s*['\"]?([\w.+-]+)", front, flags=re.MULTILINE)
    return match.group(1) if match else None


def is_noncommercial(license_name: str | None, origin: str) -> bool:
    """Whether weights may not be used commercially: the licence says so, or `origin` is a released MusicGen or EnCodec.

    Both families are CC-BY-NC-4.0 (their model cards); a copy without its card is recognised by its origin's name.
    """
    if license_name is not None:
        return re.search(r"(^|-)nc(-|$)", license_name.lower()) is not None
    return re.match(r"facebook/(encodec|musicgen)", origin) is not None


def require_commercial(license_name: str | None, origin: str, accepted: bool, key: str) -> None:
    """ValueError for non-commercial weights unless the config accepts them by `key`."""
    if is_noncommercial(license_name, origin) and not accepted:
        remedy = f"Give {key}" if key.startswith("--") else f"Set {key}: true"
        raise ValueError(
            f"{origin}: weights under a non-commercial licence ({license_name or 'CC-BY-NC-4.0'}); what is trained or "
            f"generated with them inherits that. {remedy} to accept"
        )
