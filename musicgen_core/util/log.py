"""What a person sees: messages on standard error, and progress that also reads well in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")


def say(message: str) -> None:
    """Print one line for the user at once."""
    print(message, file=sys.stderr, flush=True)


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield the items; show a bar on a terminal, or a plain line about every 5 seconds elsewhere."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track

        yield from track(items, description=what, total=total, console=Console(stderr=True))
        return
    started = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= 5.0:
            last = now
            rest = f"/{total}, {(total - done) * (now - started) / done:.0f} s left" if total else ""
            say(f"{what}: {done}{rest}")
    say(f"{what}: {done} done in {time.monotonic() - started:.1f} s")
