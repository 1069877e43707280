"""Snakemake's own report, and progress in a terminal and out of one."""

import os
import pty
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from small_project import ROOT, Project, make_project
from thousand_tracks import Thousand

DOT_NODE = r'^\s*(\d+)\[label = "(\w+)"'
DOT_EDGE = r"^\s*(\d+) -> (\d+)"
SVG_NODE = r'class="node">\s*<title>(\d+)</title>.*?<text [^>]*>(\w+)</text>'
SVG_EDGE = r"<title>(\d+)&#45;&gt;(\d+)</title>"
SCRIPT = "from musicgen_core.util.log import progress\nfor _ in progress(range(3), 'plan: reading'): pass\n"


@pytest.mark.parametrize("ending", ["zip", "html"])
def test_snakemake_makes_a_report_with_captions(tmp_path: Path, codec: Path, ending: str) -> None:
    small = make_project(tmp_path / "project", codec)
    project = Thousand(small.folder, small.config)
    project.config["runs"] = {"base": {}}
    project.finish()
    (folder,) = project.run_folders()
    page = project.folder / "results/runs" / folder / "report.html"
    page.write_text("<html><body>the page of the run</body></html>")
    os.utime(page, ns=(page.stat().st_atime_ns, page.stat().st_mtime_ns))
    outcome = project.snakemake("--report", f"report.{ending}")
    assert outcome.returncode == 0, outcome.text
    made = project.folder / f"report.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(made) as archive:
            text = "\n".join(archive.read(n).decode(errors="replace") for n in archive.namelist())
    else:
        text = made.read_text()
    for words in ("it holds players", "Every figure measured on held-out music", "curves, figures on held-out music"):
        assert words in text, words


def read_graph(text: str, node: str, edge: str) -> set[tuple[str, str]]:
    """Names of rules, before and after each arrow."""
    names = dict(re.findall(node, text, re.MULTILINE | re.DOTALL))
    return {(names[before], names[after]) for before, after in re.findall(edge, text, re.MULTILINE)}


def test_the_drawn_graph_is_that_of_the_rules(project: Project) -> None:
    """`make dag` draws docs/dag.svg, which the README shows."""
    shown = project.snakemake("--rulegraph", "dot").text
    edges = read_graph(shown, DOT_NODE, DOT_EDGE)
    assert len(edges) > 15, shown
    assert read_graph((ROOT / "docs/dag.svg").read_text(), SVG_NODE, SVG_EDGE) == edges, "run: make dag"
    assert "docs/dag.svg" in (ROOT / "README.md").read_text()


def test_progress_is_plain_lines_out_of_a_terminal() -> None:
    shown = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stderr
    assert shown.startswith("plan: reading: 3 done in ")
    assert "\r" not in shown
    assert "\x1b" not in shown


def test_progress_is_a_bar_in_a_terminal() -> None:
    ours, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", SCRIPT], stdin=theirs, stdout=theirs, stderr=theirs, env=env, check=True)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # Linux: the other end is closed and all is read
        pass
    os.close(ours)
    assert b"plan: reading" in shown
    assert b"100%" in shown
    assert b"\x1b[" in shown
