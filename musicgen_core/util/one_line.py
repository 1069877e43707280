"""An error as one line for a person."""

from __future__ import annotations

import errno

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the size limit is hit",
}


def one_line(error: BaseException) -> str:
    """The file, what is wrong with it, and where nothing can be written any more the remedy."""
    if isinstance(error, OSError) and error.errno in FULL:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{FULL[error.errno]}; free space and run the same command again, nothing half-written was kept"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    return str(error) or type(error).__name__
