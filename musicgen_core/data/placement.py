"""Put each used track of a corpus into its split and its bucket."""

from __future__ import annotations

from dataclasses import replace

from musicgen_core.config.data import CorpusConfig, DataConfig
from musicgen_core.data.captions import list_sources
from musicgen_core.data.metadata import compose_caption
from musicgen_core.data.records import InventoryRecord, Music, TrackRecord
from musicgen_core.data.splits import assign_splits, find_bucket, find_group, place_group


def is_licensed(license: str | None, licenses: tuple[str, ...] | None) -> bool:
    """Whether a track under this licence may be trained on. Without a gate all may; case does not matter."""
    return licenses is None or (license or "").casefold() in {allowed.casefold() for allowed in licenses}


def place_tracks(
    corpus: CorpusConfig, data: DataConfig, used: list[InventoryRecord], music: dict[str, Music]
) -> tuple[list[InventoryRecord], list[TrackRecord], int]:
    """Complete the records of used files with split and bucket, and make a track of each.

    Tracks whose licence keeps them out belong to no split and do not weigh on the others' splits; they are prepared all
    the same, so that a corrected licence re-does no audio. Returns the records, the tracks, and how many tracks can go
    or change, less one, before another track is placed otherwise or the corpus is refused; 0 where `place_track` alone
    does not tell. Raises ValueError, with the figures and the remedy, when no licence fits, no track has a caption
    (unless allowed) or there are too few groups.
    """
    eligible = {r.path for r in used if is_licensed(music[r.path].license, corpus.licenses)}
    captions = {r.path: compose_caption(music[r.path]) for r in used}
    _check_licenses(corpus, eligible, music)
    num_captioned = _check_captions(corpus, data, [captions[path] for path in eligible])
    groups = {r.path: find_group(_key(r), music[r.path], corpus.group_by) for r in used}
    try:
        splits = assign_splits(
            {groups[path] for path in eligible}, data.split_salt, data.valid_fraction, data.evaluate_fraction
        )
    except ValueError as error:
        raise ValueError(f"{len(eligible)} usable track(s) in {error}") from None
    placed = [
        replace(
            record,
            bucket=find_bucket(groups[record.path], corpus.num_buckets),
            split=splits.by_group[groups[record.path]] if record.path in eligible else None,
        )
        for record in used
    ]
    spare = splits.spare if data.allow_uncaptioned else min(splits.spare, num_captioned)
    return placed, [_make_track(r, music[r.path], captions[r.path]) for r in placed], spare


def place_track(
    corpus: CorpusConfig, data: DataConfig, record: InventoryRecord, music: Music
) -> tuple[InventoryRecord, TrackRecord]:
    """Like `place_tracks` for one track, by itself."""
    group = find_group(_key(record), music, corpus.group_by)
    split = None
    if is_licensed(music.license, corpus.licenses):
        split = place_group(group, data.split_salt, data.valid_fraction, data.evaluate_fraction)
    placed = replace(record, bucket=find_bucket(group, corpus.num_buckets), split=split)
    return placed, _make_track(placed, music, compose_caption(music))


def _check_licenses(corpus: CorpusConfig, eligible: set[str], music: dict[str, Music]) -> None:
    if not eligible:
        found = ", ".join(sorted({m.license or "none" for m in music.values()}))
        raise ValueError(
            f"none of {len(music)} track(s) may be used: `licenses` allows {', '.join(corpus.licenses or ())}, but the "
            f"tracks have {found}; correct `licenses` or the tracks' metadata"
        )


def _check_captions(corpus: CorpusConfig, data: DataConfig, captions: list[str | None]) -> int:
    num_captioned = sum(bool(caption) for caption in captions)
    if not data.allow_uncaptioned and not num_captioned:
        raise ValueError(
            f"0 of {len(captions)} track(s) have a caption (looked in {', '.join(list_sources(corpus))}); add "
            "captions, or set data.allow_uncaptioned: true to train without"
        )
    return num_captioned


def _key(record: InventoryRecord) -> str:
    assert record.key is not None
    return record.key


def _make_track(record: InventoryRecord, music: Music, caption: str | None) -> TrackRecord:
    assert record.bucket is not None
    return TrackRecord(
        track=_key(record),
        path=record.path,
        split=record.split,
        bucket=record.bucket,
        caption=caption,
        title=music.title,
        artist=music.artist,
        album=music.album,
        key=music.key,
        bpm=music.bpm,
        genre=music.genre,
        moods=music.moods,
        keywords=music.keywords,
        description=music.description,
        name=music.name,
        instrument=music.instrument,
        license=music.license,
        weight=music.weight,
    )
