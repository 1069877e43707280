"""The figures of a run in plain words: what a reader should take from them, with a verdict where one can be given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Group = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """One card at the head of the page."""

    question: str
    verdict: str
    mood: Literal["good", "mixed", "bad", "neutral"]
    """`good` and `bad` are judgements; `neutral` is a figure that has none."""

    text: str


def key_figures(figures: Mapping[str, Group], card: int) -> list[KeyFigure]:
    """The cards, from the figures of metrics.json."""
    return [
        _learned(figures["token_loss"], card),
        _captions(figures["token_loss"], figures["adherence"]),
        _sound(figures["frechet"]),
        _codec(figures["round_trip"]),
    ]


def _learned(loss: Group, card: int) -> KeyFigure:
    model, train, own = (_value(loss, name) for name in ("model", "unigram", "own_unigram"))
    below = loss["below_own_unigram"]
    low = (below.get("interval_95") or [below["value"]])[0]
    if low > 0:
        verdict, mood = "Yes, clearly below any guess without context", "good"
    elif _value(loss, "below_unigram") > 0:
        verdict, mood = "A little: only just below code frequency", "mixed"
    else:
        verdict, mood = "No: not below code frequency", "bad"
    return KeyFigure(
        question="Did it learn music?",
        verdict=verdict,
        mood=mood,  # type: ignore[arg-type]
        text=(
            f"On music it never saw, cross-entropy is {model:.2f} nats per token{_interval(loss['model'])}, like a "
            f"choice among {_value(loss, 'perplexity'):.0f} of {card} codes. Knowing only how often each code occurs "
            f"gives {train:.2f}; no guess without context gives less than {own:.2f}."
        ),
    )


def _captions(loss: Group, adherence: Group) -> KeyFigure:
    question = "Do captions matter?"
    if "ratio" not in adherence:
        return KeyFigure(
            question=question, verdict="Not measured", mood="neutral", text=f"{adherence['between_captions']['note']}."
        )
    share, p = _value(adherence, "differing_same_seed"), _value(adherence, "p_value")
    ratio = adherence["ratio"]["value"]
    if share == 0:
        verdict, mood = "No: captions change nothing", "bad"
    elif p < 0.05:
        verdict, mood = "Yes", "good"
    else:
        verdict, mood = "A little: not told from chance", "mixed"
    text = f"Changing only the caption changes {share:.0%} of the generated codes."
    if ratio is not None:
        text += (
            f" Code frequencies of different captions are {ratio:.2f} times as far apart as those of one caption "
            f"with different seeds (p\u00a0=\u00a0{p:.3f})."
        )
    gain = loss.get("right_caption_gain", {}).get("value")
    if gain is not None:
        text += f" With another track's caption, held-out music costs {abs(gain):.3f} nats per token "
        text += "more." if gain > 0 else "less, which speaks against it."
    return KeyFigure(question=question, verdict=verdict, mood=mood, text=text)  # type: ignore[arg-type]


def _sound(frechet: Group) -> KeyFigure:
    samples, halves, noise = (frechet[name]["value"] for name in ("samples", "halves", "noise"))
    question = "How near do samples come to real music?"
    if samples is None or noise is None:
        return KeyFigure(question=question, verdict="Not measured", mood="neutral", text=frechet["samples"]["note"])
    verdict = f"{samples:.3g} away, {'nearer' if samples < noise else 'no nearer'} than frequency noise"
    text = (
        f"Fréchet distance over the codec's latents, from {frechet['samples']['samples']['frames']:,} frames. Codes "
        f"drawn by frequency alone are {noise:.3g} away"
    )
    if halves is None:
        return KeyFigure(question=question, verdict=verdict, mood="neutral", text=f"{text}.")
    text += f", two halves of the held-out music {halves:.3g} from each other."
    if halves >= noise:
        verdict = f"{samples:.3g} away, which says little here"
        text += " On so few tracks, real music differs from itself as much as noise does."
    mood: Literal["neutral", "bad"] = "bad" if samples >= noise > halves else "neutral"
    return KeyFigure(question=question, verdict=verdict, mood=mood, text=text)


def _codec(trip: Group) -> KeyFigure:
    question = "What does the codec lose?"
    if trip["log_mel_db"]["value"] is None:
        return KeyFigure(question=question, verdict="Not measured", mood="neutral", text=trip["log_mel_db"]["note"])
    return KeyFigure(
        question=question,
        verdict=f"{_value(trip, 'log_mel_db'):.1f} dB in the mel spectrum",
        mood="neutral",
        text=(
            f"Held-out music sent through the codec and back: SI-SNR {_value(trip, 'si_snr_db'):.1f} dB, spectra "
            f"{_value(trip, 'log_stft_db'):.1f} dB apart, over {trip['log_mel_db']['samples']['seconds']} s. "
            f"No sample can sound better than that: listen below."
        ),
    )


def _value(group: Group, name: str) -> float:
    return float(group[name]["value"])


def _interval(figure: Mapping[str, Any]) -> str:
    interval = figure.get("interval_95")
    return f" (95 %: {interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
