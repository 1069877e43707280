"""One HTML page of what preflight found: nothing is loaded from elsewhere, every text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from musicgen_core.eval.report.page import TEMPLATES, content_policy
from musicgen_core.eval.report.players import make_players
from musicgen_core.preflight.finding import Finding
from musicgen_core.preflight.memory_plan import PROCESSES, PlanRow
from musicgen_core.preflight.trip import Excerpt
from musicgen_core.preflight.words import SeenRow

LEVELS = ("problem", "warning", "ok")
"""The order in which a reader wants them."""

HERE = Path(__file__).parent / "templates"


def render_page(
    name: str,
    folder: str,
    findings: Sequence[Finding],
    excerpts: Sequence[Excerpt],
    rows: Sequence[SeenRow],
    plan: Sequence[PlanRow],
    sample_rate_hz: int,
) -> str:
    """The page about the run `name`, whose folder will be called `folder`."""
    style, script = (TEMPLATES / "page.css").read_text(), (TEMPLATES / "page.js").read_text()
    players = make_players([wav for e in excerpts for wav in (e.original_CN, e.decoded_CN)], sample_rate_hz)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([HERE, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("preflight.html").render(
        name=name,
        folder=folder,
        findings=sorted(findings, key=lambda one: LEVELS.index(one.level)),
        counts={level: sum(one.level == level for one in findings) for level in LEVELS},
        moods={"ok": "good", "warning": "mixed", "problem": "bad"},
        clips=list(zip(excerpts, players[::2], players[1::2], strict=True)),
        rows=rows,
        plan=plan,
        processes=PROCESSES,
        style=Markup(style),
        script=Markup(script),
        policy=content_policy(style, script),
    )
