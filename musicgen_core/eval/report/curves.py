"""Line charts as inline SVG: sharp at every size, coloured by the page's style sheet, no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

MAX_POINTS = 300
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 46, 14, 12, 42


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str
    """CSS class, which decides colour and dashes."""

    dots: bool = False
    """Mark every point, for series of few."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """A horizontal reference line."""

    name: str
    value: float
    style: str


def line_chart(
    series: Sequence[Series], levels: Sequence[Level], x_label: str, y_label: str, width: int, height: int
) -> Markup:
    """An <svg> of that size in CSS pixels. Texts are escaped; the caller names it for those who do not see it."""
    points = [point for one in series for point in one.points if all(map(math.isfinite, point))]
    x_ticks = _ticks(0.0, max((x for x, _ in points), default=1.0), max(3, width // 130))
    values = [y for _, y in points] + [level.value for level in levels]
    y_ticks = _ticks(min(values, default=0.0), max(values, default=1.0), max(4, height // 60))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return (
            MARGIN_LEFT + across * (width - MARGIN_LEFT - MARGIN_RIGHT),
            height - MARGIN_BOTTOM - up * (height - MARGIN_TOP - MARGIN_BOTTOM),
        )

    pieces = [Markup('<svg viewBox="0 0 {0} {1}" width="{0}" height="{1}" aria-hidden="true">').format(width, height)]
    for tick in y_ticks:
        x, y = place(x_ticks[0], tick)
        pieces.append(Markup('<path class="rule" d="M{:.1f} {:.1f}H{}"/>').format(x, y, width - MARGIN_RIGHT))
        pieces.append(_text(x - 8, y + 4, _number(tick, y_ticks), "end"))
    for number, tick in enumerate(x_ticks):
        x, _ = place(tick, y_ticks[0])
        anchor = "end" if number == len(x_ticks) - 1 else "middle"
        pieces.append(_text(x, height - MARGIN_BOTTOM + 18, _number(tick, x_ticks), anchor))
    pieces.append(_text((MARGIN_LEFT + width - MARGIN_RIGHT) / 2, height - 6, x_label, "middle"))
    for level in levels:
        x, y = place(x_ticks[0], level.value)
        d = f"M{x:.1f} {y:.1f}H{width - MARGIN_RIGHT}"
        pieces.append(Markup('<path class="line {}" d="{}"/>').format(level.style, d))
    for one in series:
        pieces.append(_line(one, [place(x, y) for x, y in _thin(one.points)]))
    pieces.append(Markup("</svg>"))
    return Markup('<p class="axis">{}</p>').format(y_label) + Markup("").join(pieces)


def legend(entries: Sequence[Series | Level]) -> Markup:
    """A list of the lines with a sample of each."""
    items = [
        Markup(
            '<li><svg viewBox="0 0 34 10" width="34" height="10" aria-hidden="true"><path class="line {}" d="M1 5H33"/>'
            "</svg>{}</li>"
        ).format(entry.style, entry.name)
        for entry in entries
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def _line(series: Series, places: Sequence[tuple[float, float]]) -> Markup:
    if not places:
        return Markup("")
    d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    drawn = Markup('<path class="line {}" d="{}"/>').format(series.style, d)
    if series.dots:
        for x, y in places:
            drawn += Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(series.style, x, y)
    return drawn


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, escape(text))


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MAX_POINTS: means of runs of neighbours. Points that are not finite are left out."""
    finite = [point for point in points if all(map(math.isfinite, point))]
    run = math.ceil(len(finite) / MAX_POINTS) or 1
    groups = [finite[i : i + run] for i in range(0, len(finite), run)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def _ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers whose first and last enclose low and high."""
    span = (high - low) or max(abs(high), 1.0)
    rough = span / count
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(magnitude * m for m in (1, 2, 2.5, 5, 10) if magnitude * m >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    return [i * step for i in range(first, last + 1)]


def _number(value: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if round(step, decimals) != round(step, decimals + 1):
        decimals += 1
    return f"{value:,.{decimals}f}"
