"""Which snakemakes work in this folder. Snakemake's own lock names nobody, and outlives a kill.

Each leaves a note here while it works, and touches it now and then: a process on another machine cannot be asked, but
its note tells by its age.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from musicgen_core.util.atomic import write_json
from musicgen_core.util.process import describe_process, is_alive

FOLDER = Path(".snakemake/musicgen")
LOCKS = Path(".snakemake/locks")

BEAT_SEC = 30.0
"""How often a snakemake touches its note."""

SILENT_SEC = 300.0
"""After so long without a touch, a snakemake on another machine is taken to be gone."""


_here: list[Presence] = []


class Presence:
    """The note of this process, from `register` to its end: normal, by an error, or by Ctrl-C."""

    def __init__(self, locks: Iterable[str] = ()) -> None:
        self.note = {**describe_process(), "locks": sorted(locks)}
        self.path = _name_note(self.note).absolute()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)
        write_json(self.path, self.note)
        self.begun_sec = self.path.stat().st_mtime
        """By the clock of the file system, which later touches of the note do not move."""
        self.thread.start()

    def withdraw(self) -> None:
        if os.getpid() == self.note["pid"]:  # and not a fork of it
            self.ended.set()
            self.thread.join(timeout=5)
            self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self.ended.wait(BEAT_SEC):
            with suppress(OSError):  # of a file server that is briefly away
                try:
                    os.utime(self.path)
                except FileNotFoundError:
                    write_json(self.path, self.note)  # another one took this process for gone: it had been suspended


def register(locks: Iterable[str] = ()) -> Presence:
    """Say that this process works here, and which of Snakemake's lock files are its own, until it ends."""
    presence = Presence(locks)
    _here.append(presence)
    atexit.register(presence.withdraw)
    return presence


def begun_sec() -> float:
    """When this process registered, by the file system's clock. Raises ValueError if it did not."""
    if not _here:
        raise ValueError("this process has not registered")
    return _here[-1].begun_sec


def is_locked() -> bool:
    """Whether a snakemake works in this folder, or was killed in it."""
    return any(LOCKS.glob("*"))


def list_others() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(those that work here, those that are gone) besides this process.

    One on another machine works while its note is young. Notes without `locks` are of a version that never removed
    any: from another machine they say nothing, and count as gone.
    """
    mine, now = describe_process(), _server_time()
    there: list[dict[str, Any]] = []
    gone: list[dict[str, Any]] = []
    for path in sorted(FOLDER.glob("*.json")):
        try:
            process = json.loads(path.read_text(encoding="utf-8"))
            alive = is_alive(process)
            if alive is None:
                process["silent_sec"] = max(0.0, now - path.stat().st_mtime)
                alive = "locks" in process and process["silent_sec"] <= SILENT_SEC
            if (process["host"], process["pid"]) != (mine["host"], mine["pid"]):
                (there if alive else gone).append(process)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return there, gone


def forget_gone() -> None:
    """Remove the notes of processes that are gone."""
    for process in list_others()[1]:
        _name_note(process).unlink(missing_ok=True)


def explain_lock() -> str:
    """The line for a user whom Snakemake refuses: who holds the lock, and what to do."""
    return f"Error: {name_holder()}"


def name_holder() -> str:
    """Who holds Snakemake's lock, and what to do."""
    there, gone = (_holders(notes) for notes in list_others())
    if there:
        who = "; ".join(_describe(process) for process in there)
        elsewhere = [process["host"] for process in there if "silent_sec" in process]
        if_gone = (
            f"; if it is gone from {elsewhere[0]}: `snakemake --unlock`, then the same command" if elsewhere else ""
        )
        return f"another snakemake works in this folder ({who}); wait for it, or stop it{if_gone}"
    if gone:
        who = f"process {gone[-1]['pid']} on {gone[-1]['host']}, begun {gone[-1]['time']}"
        return f"the snakemake that worked here was killed ({who}); `snakemake --unlock`, then the same command"
    return "another snakemake works in this folder, or was killed: `snakemake --unlock`, then the same command"


def unlock() -> str:
    """Remove Snakemake's locks without a look at the music; returns the line for the user. Snakemake's own --unlock
    needs its jobs first: a config that cannot be used now, or data that may not be trained on, would keep it locked."""
    there = list_others()[0]
    shutil.rmtree(LOCKS, ignore_errors=True)
    if is_locked():
        raise OSError(f"{LOCKS} cannot be removed; correct its permissions")
    if there:
        who = "; ".join(_describe(process) for process in there)
        return f"unlocked; WARNING: {who} seems to work here still: stop it before you start another one"
    return "unlocked"


def _holders(notes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of these, the ones whose own lock files are there. A note that names none may hold any."""
    return [note for note in notes if not note.get("locks") or any((LOCKS / name).exists() for name in note["locks"])]


def _describe(process: dict[str, Any]) -> str:
    life = f", last sign of life {process['silent_sec']:.0f} s ago" if "silent_sec" in process else ""
    return f"process {process['pid']} on {process['host']} since {process['time']}{life}"


def _name_note(process: dict[str, Any]) -> Path:
    return FOLDER / f"{process['host']}-{process['pid']}.json"


def _server_time() -> float:
    """Now, by the clock that stamps files here: a file server's may differ from this machine's."""
    try:
        with tempfile.NamedTemporaryFile(dir=FOLDER) as probe:
            return os.stat(probe.name).st_mtime
    except OSError:
        return time.time()
