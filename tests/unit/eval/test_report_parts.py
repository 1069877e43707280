"""Parts of the report by themselves: charts, verdicts, faults of audio, licences."""

import io
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from PIL import Image

from musicgen_core.eval.report.corpus import is_noncommercial
from musicgen_core.eval.report.curves import Level, Series, legend, line_chart
from musicgen_core.eval.report.page import format_clock, format_hours
from musicgen_core.eval.report.picture import HEIGHT_PIXELS, WIDTH_PIXELS, draw_audio
from musicgen_core.eval.report.players import find_faults
from musicgen_core.eval.report.words import key_figures

RATE = 16_000


def chart(points: list[tuple[float, float]], levels: list[Level] | None = None) -> ET.Element:
    drawn = line_chart([Series(name="a", points=points, style="train")], levels or [], "Step", "Nats", 600, 300)
    return ET.fromstring(f"<div>{drawn}</div>")


def coordinates(path: str) -> np.ndarray:
    return np.array([[float(v) for v in pair.split()] for pair in path[1:].split("L")])


def test_chart_places_points_and_levels_inside_and_in_order() -> None:
    root = chart([(10, 5.0), (20, 4.0), (40, 3.5)], [Level(name="l", value=6.0, style="unigram")])
    paths = {p.get("class"): p.get("d") or "" for p in root.iter("path") if p.get("class") != "rule"}
    x, y = coordinates(paths["line train"]).T
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) > 0).all(), "lower losses are lower on the page"
    assert (x >= 0).all()
    assert (x <= 600).all()
    level = float(paths["line unigram"].split("H")[0].split()[1])
    assert 0 <= level < y.min()


@pytest.mark.parametrize("points", [[], [(1, 2.0)], [(5, 3.0), (5, 3.0)], [(1, float("nan")), (2, 1.0)]])
def test_chart_survives_few_and_odd_points(points: list[tuple[float, float]]) -> None:
    assert "nan" not in ET.tostring(chart(points), encoding="unicode")


def test_long_curves_are_thinned() -> None:
    root = chart([(i, 5 - i / 1e5) for i in range(100_000)])
    path = next(p for p in root.iter("path") if p.get("class") == "line train")
    assert len(coordinates(path.get("d") or "")) <= 300


def test_chart_escapes_names() -> None:
    assert "<b>" not in legend([Level(name="<b>", value=1, style="own")])


def make_figures(below_own: float, low: float, p_value: float, differing: float = 0.9) -> dict[str, Any]:
    def value(number: float | None, **more: Any) -> dict[str, Any]:
        return {"value": number, "samples": {"frames": 10, "seconds": 60}, **more}

    return {
        "token_loss": {
            "model": value(4.0, interval_95=[3.9, 4.1]),
            "perplexity": value(54.6),
            "unigram": value(5.0),
            "own_unigram": value(4.0 + below_own),
            "below_unigram": value(1.0),
            "below_own_unigram": value(below_own, interval_95=[low, below_own + 0.1]),
            "right_caption_gain": value(0.1),
        },
        "adherence": {
            "differing_same_seed": value(differing),
            "p_value": value(p_value),
            "ratio": value(1.2),
        },
        "frechet": {name: value(10.0) for name in ("samples", "halves", "codec", "noise")},
        "round_trip": {name: value(5.0) for name in ("si_snr_db", "log_mel_db", "log_stft_db")},
    }


@pytest.mark.parametrize(
    ("figures", "learned", "captions"),
    [
        (make_figures(0.5, 0.4, 0.001), "good", "good"),
        (make_figures(0.1, -0.1, 0.2), "mixed", "mixed"),
        (make_figures(0.5, 0.4, 1.0, differing=0.0), "good", "bad"),
    ],
)
def test_verdicts_follow_the_figures(figures: dict[str, Any], learned: str, captions: str) -> None:
    cards = key_figures(figures, card=64)
    assert (cards[0].mood, cards[1].mood) == (learned, captions)


def test_faults_are_heard_of() -> None:
    time = np.arange(3 * RATE) / RATE
    fine = (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)[None]
    assert find_faults(fine, RATE) == []
    assert find_faults(fine * 0, RATE) == ["silent"]
    assert "full scale" in find_faults(np.clip(fine * 4, -1, 1), RATE)[0]
    assert "constant offset of 0.20" in find_faults(fine + np.float32(0.2), RATE)[0]
    stopped = fine.copy()
    stopped[:, RATE:] = 0
    assert find_faults(stopped, RATE) == ["the last 2.0 s are silent"]


@pytest.mark.parametrize("num_samples", [1, 500, 16_000, 300_001])
def test_pictures_of_any_length_are_drawn(num_samples: int) -> None:
    wav = np.random.default_rng(0).normal(scale=0.2, size=(2, num_samples)).astype(np.float32)
    png = draw_audio(wav, RATE)
    assert png == draw_audio(wav, RATE)
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.size == (WIDTH_PIXELS, HEIGHT_PIXELS)
        assert picture.convert("RGBA").getpixel((1, 1))[3] == 0, "the ground is the page's"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("CC-BY-NC-3.0", True), ("cc_by_nc_sa_4.0", True), ("CC-BY-3.0", False), ("NCSA", False), ("CC0-1.0", False)],
)
def test_noncommercial_licences_are_seen(name: str, expected: bool) -> None:
    assert is_noncommercial(name) is expected


def test_times_are_written_for_people() -> None:
    assert [format_clock(s) for s in (45, 200, 3720)] == ["45 s", "3 min 20 s", "1 h 02 min"]
    assert [format_hours(h) for h in (0.5, 12.34)] == ["30.0 min", "12.3 h"]
