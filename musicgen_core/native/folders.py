"""What lies under a folder, and what changed there since it was last looked at."""

from __future__ import annotations

import os
from typing import NamedTuple

from musicgen_core import _rust_loader
from musicgen_core.native.types import PathLike


class FoundFile(NamedTuple):
    """A file and the three figures that tell whether it is still the same; ctime also catches `cp -p`, `rsync -a`."""

    path: str
    """Relative to the folder, with forward slashes; bytes that are no UTF-8 as Python's surrogateescape has them."""

    size: int
    """Bytes; -1 for a link that leads nowhere."""

    mtime_ns: int
    ctime_ns: int

    @property
    def suffix(self) -> str:
        """The ending, in lower case, with its dot."""
        dot = self.path.rfind(".")  # the name starts with none: hidden files are not listed
        return self.path[dot:].lower() if dot > self.path.rfind("/") else ""

    @property
    def stem(self) -> str:
        """The path without its ending: what an audio file shares with its sidecars."""
        return os.path.splitext(self.path)[0]


class FolderList:
    """All files under a folder by path, in the order of the paths' bytes. Held outside Python: a file takes about 100
    bytes, and comparing a million files with an earlier list makes objects only of those that differ.

    Hidden files and folders (.DS_Store, ._song.mp3) are left out, as is the folder `skip` below it. Links to folders
    are followed; a folder that was already visited is not visited again, so a loop of links ends.
    """

    def __init__(self, folder: PathLike, skip: PathLike | None = None) -> None:
        """Walks the folder; files are looked at by one thread per core. OSError names a folder
        or a file that cannot be looked at."""
        self._list = _rust_loader.FolderList(folder, skip)
        self.num_files: int = self._list.num_files

    def files(self) -> list[FoundFile]:
        return [FoundFile._make(file) for file in self._list.files()]

    def starting(self, prefix: str) -> list[FoundFile]:
        """Files whose path starts with `prefix`, found by halving: the time does not grow with the folder."""
        return [FoundFile._make(file) for file in self._list.starting(prefix)]

    def digest(self) -> str:
        """Digest of all paths, sizes and times, 32 hex digits: that of the file that `write` writes."""
        return self._list.digest()

    def write(self, out: PathLike) -> None:
        """Writes the list, atomically: `size mtime_ns ctime_ns path` per file, each ended by a zero byte."""
        self._list.write(out)

    def changes_since(self, former: PathLike) -> list[tuple[FoundFile | None, FoundFile | None]]:
        """What changed since a list was written, by path: (before, now); None where the file was or is not there.

        Raises ValueError for a file that is no such list, OSError when it cannot be read.
        """
        changes = self._list.changes_since(former)
        return [(before and FoundFile._make(before), now and FoundFile._make(now)) for before, now in changes]
