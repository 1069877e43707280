"""Music of the last plan that cannot be read now: a disk that is not mounted must not look like tracks deleted."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

from musicgen_core.native import FolderList

LARGE_PART, LARGE_NUMBER = 10, 10
"""Said is a loss of more than one track in so many, and of so many at least."""

REMEDY = (
    "mount it again or mend its permissions; if it is meant to be gone, remove it from the corpus. Nothing was planned"
)


def check_links(found: FolderList, former: Path) -> None:
    """Raise ValueError for a link that leads nowhere, under which files of the list `former` lay: its folder is away.

    Any other link that leads nowhere is a file that is rejected by name.
    """
    try:
        changes = found.changes_since(former)
    except (FileNotFoundError, ValueError):
        return  # there was no plan
    broken = [now.path for _, now in changes if now is not None and now.size < 0]
    gone = sorted(before.path for before, now in changes if before is not None and now is None) if broken else []
    for path in broken:
        below = bisect_left(gone, f"{path}0") - bisect_left(gone, f"{path}/")  # "0" comes next after "/"
        if below:
            raise ValueError(f"{path}: a link that leads nowhere; {below} files of the last plan lay there; {REMEDY}")


def check_reading(unread: Sequence[tuple[str, str]], inventory: Path) -> None:
    """Raise ValueError when a file that the last plan (`inventory`, its inventory.jsonl) used cannot be read now.

    `unread` has (path, what the system said). Files that are new are rejected by name, and tried again next time.
    """
    if not unread or not inventory.exists():
        return
    with open(inventory, encoding="utf-8") as handle:
        lines = (json.loads(line) for line in handle)
        used = {line["path"] for line in lines if line["status"] == "used"}
    lost = [(path, said) for path, said in unread if path in used]
    if lost:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        raise ValueError(f"{lost[0][0]}{more}, used by the last plan, cannot be read: {lost[0][1]}; {REMEDY}")


def describe_loss(name: str, before: int, now: int) -> str | None:
    """The line about a corpus that lost a large part of its tracks since the last plan; None for any other."""
    lost = before - now
    if lost < LARGE_NUMBER or lost * LARGE_PART <= before:
        return None
    return (
        f"plan: {name}: WARNING: {now} tracks are used, {lost} fewer than the {before} of the last plan "
        f"({100 * lost / before:.0f} %); if that is meant, go on; if not (a disk that is not mounted?), stop here, "
        "bring them back, and start again"
    )
