"""One HTML page about a run: nothing is loaded from elsewhere (a policy in the page says so), every text is escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from musicgen_core import native
from musicgen_core.eval.report.corpus import NO_LICENSE, Music, is_noncommercial
from musicgen_core.eval.report.curves import Level, Series, legend, line_chart
from musicgen_core.eval.report.players import Player, make_players
from musicgen_core.eval.report.run_files import RunFiles
from musicgen_core.eval.report.words import key_figures

TEMPLATES = Path(__file__).parent / "templates"
GROUPS = ("token_loss", "adherence", "frechet", "round_trip")
"""Groups of figures, as a reader asks for them."""

MAX_ROWS = 300
"""Of rejected files and of credits; the files that hold all are named in the page."""


def render_page(name: str, folder: str, run: RunFiles, music: Music) -> str:
    """The whole page about the run `name`, whose folder is called `folder`."""
    style, script = (TEMPLATES / "page.css").read_text(), (TEMPLATES / "page.js").read_text()
    samples, clips = _players(run)
    training, codec = run.config["training"], run.metrics["codec"]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["hours"] = format_hours
    environment.filters["clock"] = format_clock
    return environment.get_template("page.html").render(
        name=name,
        folder=folder,
        run=run,
        music=music,
        style=Markup(style),
        script=Markup(script),
        policy=content_policy(style, script),
        key_figures=key_figures(run.metrics["figures"], codec["card"]),
        notices=_notices(run, music),
        charts=_charts(run),
        codebooks=_codebooks(run.metrics["figures"]["token_loss"]),
        frechet=_bars(run.metrics["figures"]["frechet"]),
        figures={group: run.metrics["figures"][group] for group in GROUPS},
        samples=list(zip(run.samples, samples, strict=True)),
        clips=list(zip(run.clips, clips[::2], clips[1::2], strict=True)),
        training=training,
        codec=codec,
        model=run.export["model"],
        num_training_seconds=run.done["seconds"] if run.done else None,
        no_license=NO_LICENSE,
        is_noncommercial=is_noncommercial,
        max_rows=MAX_ROWS,
        config_text=json.dumps(_without(run.config, "versions", "digests", "code"), indent=2, ensure_ascii=False),
        versions={**run.metrics["versions"], **run.config.get("versions", {}), **_code(run)},
        digests=_digests(run),
    )


def content_policy(style: str, script: str) -> str:
    """Content-Security-Policy: only this style, this script and data inside the page."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")

    return (
        f"default-src 'none'; img-src data:; media-src data:; style-src 'sha256-{digest(style)}'; "
        f"script-src 'sha256-{digest(script)}'; base-uri 'none'; form-action 'none'"
    )


def format_hours(hours: float) -> str:
    """`12.3 h`, or minutes below one hour."""
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def format_clock(seconds: float) -> str:
    """`1 h 02 min`, `3 min 20 s` or `45 s`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _players(run: RunFiles) -> tuple[list[Player], list[Player]]:
    """Players of the samples; and of the clips, original and reconstruction in turn."""
    rate_hz = run.metrics["codec"]["sample_rate_hz"]
    paths = [sample.path for sample in run.samples]
    paths += [run.references / name for clip in run.clips for name in (clip.original, clip.reconstruction)]
    players = make_players([_load(path, rate_hz) for path in paths], rate_hz)
    return players[: len(run.samples)], players[len(run.samples) :]


def _load(path: Path, rate_hz: int) -> Any:
    wav_CN, found_hz = native.decode(path)
    return wav_CN if found_hz == rate_hz else native.resample(wav_CN, found_hz, rate_hz)


def _charts(run: RunFiles) -> list[dict[str, Any]]:
    loss = run.metrics["figures"]["token_loss"]
    levels = [
        Level(name="Guessing by code frequency (train counts)", value=loss["unigram"]["value"], style="unigram"),
        Level(name="Best guess without context", value=loss["own_unigram"]["value"], style="own"),
    ]
    curves = [
        Series(name="Training", points=[(line["step"], line["loss"]) for line in run.train], style="train"),
        Series(
            name="Validation (averaged weights)",
            points=[(line["step"], line["loss"]) for line in run.valid],
            style="valid",
            dots=True,
        ),
    ]
    num_codebooks = len(run.valid[0]["loss_per_codebook"]) if run.valid else 0
    by_codebook = [
        Series(
            name=f"Codebook {k + 1}",
            points=[(line["step"], line["loss_per_codebook"][k]) for line in run.valid],
            style=f"codebook codebook-{k % 6}",
            dots=True,
        )
        for k in range(num_codebooks)
    ]
    return [
        _chart("Loss", curves, levels, _describe_curves(run, levels)),
        _chart("Validation loss of each codebook", by_codebook, [], _describe_codebooks(run)),
    ]


def _chart(title: str, series: Sequence[Series], levels: Sequence[Level], description: str) -> dict[str, Any]:
    return {
        "title": title,
        "wide": line_chart(series, levels, "Step", "Nats per token", 1000, 360),
        "narrow": line_chart(series, levels, "Step", "Nats per token", 360, 300),
        "legend": legend([*series, *levels]),
        "description": description,
    }


def _describe_curves(run: RunFiles, levels: Sequence[Level]) -> str:
    if not run.valid:
        return "No validation was recorded."
    best = min(run.valid, key=lambda line: line["loss"])
    last = run.valid[-1]
    return (
        f"Validation loss starts at {run.valid[0]['loss']:.2f} (step {run.valid[0]['step']}), is lowest at "
        f"{best['loss']:.2f} (step {best['step']}) and ends at {last['loss']:.2f} (step {last['step']}). On held-out "
        f"music, guessing by code frequency costs {levels[0].value:.2f}, the best guess without context "
        f"{levels[1].value:.2f}."
    )


def _describe_codebooks(run: RunFiles) -> str:
    if not run.valid:
        return "No validation was recorded."
    last = ", ".join(f"{loss:.2f}" for loss in run.valid[-1]["loss_per_codebook"])
    return f"At the end, from the first codebook to the last: {last} nats per token."


def _codebooks(loss: dict[str, Any]) -> list[dict[str, float]]:
    """Rows of the per-codebook table."""
    names = {"model": "model", "perplexity": "perplexity", "unigram": "unigram", "own": "own_unigram"}
    columns = {short: loss[f"{name}_per_codebook"]["value"] for short, name in names.items()}
    return [{short: column[k] for short, column in columns.items()} for k in range(len(columns["model"]))]


def _bars(frechet: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the Fréchet table, each with the length of its bar as a share of the longest."""
    titles = {
        "codec": "Held-out music through the codec",
        "halves": "One half of held-out music against the other",
        "samples": "Generated samples",
        "noise": "Codes drawn by frequency alone",
    }
    longest = max((frechet[name]["value"] or 0 for name in titles), default=0) or 1
    return [
        {"name": name, "title": title, "share": (frechet[name]["value"] or 0) / longest, **frechet[name]}
        for name, title in titles.items()
    ]


def _notices(run: RunFiles, music: Music) -> list[str]:
    """What a reader must not miss."""
    notices = []
    steps = run.config["training"]["steps"]
    if run.done is None:
        reached = run.train[-1]["step"] if run.train else 0
        notices.append(
            f"Training has not ended: {reached} of {steps} steps. These figures are of its best weights so far."
        )
    if run.valid:
        best = min(run.valid, key=lambda line: line["loss"])
        last = run.valid[-1]
        if last["loss"] > best["loss"] * 1.02:
            notices.append(
                f"Validation loss rose from {best['loss']:.2f} at step {best['step']} to {last['loss']:.2f} at step "
                f"{last['step']}: the model began to learn its training tracks by heart. The export is from step "
                f"{run.export['step']}."
            )
    restricted = [license.name for license in music.licenses if license.noncommercial]
    if restricted:
        notices.append(f"Some music is under a non-commercial licence ({', '.join(restricted)}).")
    unknown = sum(license.num_tracks for license in music.licenses if license.name == NO_LICENSE)
    if unknown:
        notices.append(f"{unknown} tracks state no licence.")
    tracks = run.metrics["figures"]["token_loss"]["model"]["samples"]["tracks"]
    if tracks < 10:
        notices.append(
            f"Held-out figures rest on {tracks} track{'s' if tracks != 1 else ''} only: read them as a rough guide."
        )
    return notices


def _digests(run: RunFiles) -> dict[str, str]:
    digests = {
        "Codec": run.metrics["codec"]["digest"],
        "Exported weights": run.metrics["model"]["weights_digest"],
    }
    return digests | {str(k): str(v) for k, v in _flatten(run.config.get("digests", {})).items()}


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested objects as `a.b.c` -> leaf."""
    if isinstance(value, dict):
        return {
            k: v for key, item in value.items() for k, v in _flatten(item, f"{prefix}.{key}" if prefix else key).items()
        }
    return {prefix: value}


def _code(run: RunFiles) -> dict[str, str]:
    return {f"code ({kind})": digest for kind, digest in run.config.get("code", {}).items()}


def _without(value: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key not in keys}
