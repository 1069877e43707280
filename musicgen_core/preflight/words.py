"""The captions as the text encoder sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from musicgen_core.conditioners.lut import LutConditioner, hash_word, split_words
from musicgen_core.conditioners.rows import training_rows
from musicgen_core.conditioners.t5 import T5Conditioner
from musicgen_core.lm.model import DESCRIPTION, LanguageModel
from musicgen_core.preflight.finding import Finding
from musicgen_core.preflight.material import Material

NUM_ROWS = 6
SAME_SHARE = 0.5
"""Of captioned tracks with one and the same caption, from which words cannot tell tracks apart."""


@dataclass(frozen=True, kw_only=True)
class SeenRow:
    """One caption, as it is written, as training may vary it, and as the encoder reads it."""

    track: str
    path: str
    caption: str | None
    varied: str | None
    """One draw of training.words; null: dropped."""

    seen: str
    """Words or tokens in the encoder's order, divided by |."""


def check_captions(material: Material, model: LanguageModel) -> tuple[Finding, list[SeenRow]]:
    captions = [record.caption for record in material.train]
    held_out = [record.caption for record in material.held_out]
    split = _reader(model)
    rows = [split(caption) for caption in captions]
    limit = model.conditioner.max_length
    empty = sum(not row for row in rows)
    cut = sum(len(row) > limit for row in rows)
    same, count = (
        Counter(caption for caption in captions if caption).most_common(1)[0] if empty < len(rows) else ("", 0)
    )
    different = len({caption for caption in captions if caption})
    unknown, of_what = _count_unknown(model, rows, [split(caption) for caption in held_out])
    figures: dict[str, Any] = {
        "tracks": len(rows),
        "empty": empty,
        "cut": cut,
        "different": different,
        "most_common": same,
        "most_common_count": count,
        "unknown_share": unknown,
        "longest": max(map(len, rows)),
        "prompt_words_unknown": _unknown_prompts(material, split, rows),
    }
    unit = "tokens" if isinstance(model.conditioner, T5Conditioner) else "words"
    text = (
        f"{len(rows)} captions, {different} different, {empty} empty; {sum(map(len, rows)) / len(rows):.1f} {unit} "
        f"each, {figures['longest']} at most, {cut} cut at {limit}; {of_what} {unknown:.1%}"
    )
    faults = _faults(len(rows), empty, cut, count, unknown, limit, unit, figures["prompt_words_unknown"])
    finding = Finding(
        check="captions",
        level="problem" if empty == len(rows) and not material.root.data.allow_uncaptioned else "ok",
        text=text,
        remedy="give the tracks words (config/README.md, Your own music)" if empty == len(rows) else "",
        figures=figures,
    )
    if faults and finding.level == "ok":
        what, remedies = zip(*faults, strict=True)
        finding = Finding(
            check="captions",
            level="warning",
            text=f"{', '.join(what)}: {text}",
            remedy=remedies[0],
            figures=figures,
        )
    return finding, _show(material, model, split)


def _faults(
    num_rows: int, empty: int, cut: int, count: int, unknown: float, limit: int, unit: str, prompts: list[str]
) -> list[tuple[str, str]]:
    """(what, remedy) of each thing to look at."""
    faults = []
    if empty > num_rows * 0.1:
        faults.append((f"{empty / num_rows:.0%} of the tracks have no words", "they train the model without words"))
    if cut > num_rows * 0.05:
        faults.append((f"{cut / num_rows:.0%} of the captions are cut", f"raise conditioner.max_{unit} above {limit}"))
    if num_rows > 1 and count > max(1, num_rows * SAME_SHARE):
        faults.append((f"{count} tracks share one caption", "say what is different about each"))
    if unknown > 0.2:
        faults.append((f"{unknown:.0%} of the {unit} are unknown", "mend spelling and encoding of the captions"))
    if prompts:
        faults.append(
            (
                f"generation.prompts use words that no caption has ({', '.join(prompts[:5])})",
                "use words of the captions",
            )
        )
    return faults


def _reader(model: LanguageModel) -> Any:
    """caption -> what the encoder reads, in order."""
    conditioner = model.conditioner
    if isinstance(conditioner, T5Conditioner):
        tokenizer = conditioner.encoder

        def tokens(caption: str | None) -> list[str]:
            return tokenizer.show(caption) if caption and caption.strip() else []

        return tokens
    return split_words


def _count_unknown(model: LanguageModel, rows: Sequence[list[str]], held_out: Sequence[list[str]]) -> tuple[float, str]:
    """Share of unknown words, and what that is. A look-up table knows no unknown word, but an untrained row."""
    if isinstance(model.conditioner, T5Conditioner):
        tokens = [token for row in rows for token in row]
        unknown = sum(token == model.conditioner.encoder.unknown for token in tokens)
        return unknown / max(1, len(tokens)), "unknown to the tokenizer:"
    known = {word for row in rows for word in row}
    words = [word for row in held_out for word in row]
    shared = ""
    if isinstance(model.conditioner, LutConditioner):
        bins = Counter(hash_word(word, model.conditioner.embed.num_embeddings) for word in known)
        count = sum(size for size in bins.values() if size > 1)
        shared = f"{count} of {len(known)} words share a row of the table with another; "
    return sum(word not in known for word in words) / max(1, len(words)), f"{shared}held-out words not in training:"


def _unknown_prompts(material: Material, split: Any, rows: Sequence[list[str]]) -> list[str]:
    known = {word for row in rows for word in row}
    words = dict.fromkeys(word for prompt in material.run.generation.prompts for word in split(prompt))
    return [word for word in words if word not in known]


def _show(material: Material, model: LanguageModel, split: Any) -> list[SeenRow]:
    import numpy as np

    records, t = material.train[:NUM_ROWS], material.run.training
    lines = [record.to_dict() for record in records]
    numbers = np.arange(len(records), dtype=np.int64)
    varied = training_rows(
        lines, model.config.conditions, t.words, 0.0, material.run.seed, np.zeros_like(numbers), numbers
    )
    return [
        SeenRow(
            track=record.track,
            path=record.path,
            caption=record.caption,
            varied=row[DESCRIPTION] if row is not None else None,
            seen=" | ".join(split(row[DESCRIPTION] if row is not None else None)[: model.conditioner.max_length]),
        )
        for record, row in zip(records, varied, strict=True)
    ]
