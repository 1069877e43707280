"""A file in memory that has a descriptor."""

from __future__ import annotations

import os
import tempfile
from typing import IO


def memory_file() -> IO[bytes]:
    """Open an empty file that has a descriptor and no name, in memory where the system can (Linux).

    For C libraries that write to a descriptor. Given a BytesIO, soundfile calls back into Python for each write, and a
    Ctrl-C that arrives inside such a call is swallowed by cffi: the program would go on.
    """
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("musicgen"), "w+b")
    return tempfile.TemporaryFile()
