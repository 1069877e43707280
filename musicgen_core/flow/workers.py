"""Which snakemakes work in this folder. Snakemake's own lock names nobody, and outlives a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from musicgen_core.util.atomic import write_json
from musicgen_core.util.process import describe_process, is_alive

FOLDER = Path(".snakemake/musicgen")


def register() -> None:
    """Say that this process works here, until it is gone."""
    mine = describe_process()
    write_json(FOLDER / f"{mine['host']}-{mine['pid']}.json", mine)


def list_others() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(those that work here or cannot be asked, those that are gone) besides this process."""
    mine = describe_process()
    there: list[dict[str, Any]] = []
    gone: list[dict[str, Any]] = []
    for path in sorted(FOLDER.glob("*.json")):
        try:
            process = json.loads(path.read_text(encoding="utf-8"))
            alive = is_alive(process)
        except (OSError, ValueError, KeyError):
            continue
        if (process["host"], process["pid"]) != (mine["host"], mine["pid"]):
            (gone if alive is False else there).append(process)
    return there, gone


def forget_gone() -> None:
    """Remove the notes of processes that are gone."""
    for process in list_others()[1]:
        (FOLDER / f"{process['host']}-{process['pid']}.json").unlink(missing_ok=True)


def explain_lock() -> str:
    """The line for a user whom Snakemake refuses: who holds the lock, and what to do."""
    there, gone = list_others()
    if there:
        who = "; ".join(f"process {p['pid']} on {p['host']} since {p['time']}" for p in there)
        return f"Error: another snakemake works in this folder ({who}); wait for it, or stop it"
    if gone:
        who = f"process {gone[-1]['pid']} on {gone[-1]['host']}, begun {gone[-1]['time']}"
        return f"Error: the snakemake that worked here was killed ({who}); `snakemake --unlock`, then the same command"
    return "Error: another snakemake works in this folder, or was killed: `snakemake --unlock`, then the same command"
