"""Report: one self-contained HTML page about a run, to listen to, to read and to send."""

from __future__ import annotations

from pathlib import Path

from musicgen_core.config.root import ReportStageConfig
from musicgen_core.eval.report.corpus import read_music
from musicgen_core.eval.report.page import render_page
from musicgen_core.eval.report.run_files import read_run
from musicgen_core.eval.report.words import key_figures
from musicgen_core.util.atomic import write_text
from musicgen_core.util.log import say


def run(config: ReportStageConfig, *, run_dir: Path, manifests: list[Path], inventories: list[Path], out: Path) -> None:
    """Write the page about `run_dir` to `out`, and print its key figures.

    `manifests` are the run's corpus folders, `inventories` their lists of files found. FileNotFoundError or ValueError
    names what is absent or damaged.
    """
    files = read_run(run_dir)
    page = render_page(run_dir.name.rpartition("-")[0], run_dir.name, files, read_music(manifests, inventories))
    write_text(out, page)
    for figure in key_figures(files.metrics["figures"], files.metrics["codec"]["card"]):
        say(f"report: {figure.question} {figure.verdict}. {figure.text}")
    say(f"report: {out} ({len(page.encode()) / 1e6:.1f} MB)")
