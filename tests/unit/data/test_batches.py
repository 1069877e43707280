import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from token_corpus import SPEC, make_record, write_corpus

from musicgen_core import native
from musicgen_core.data.batches import (
    TokenBatches,
    TrackTable,
    count_segment_frames,
    open_tracks,
    valid_batches,
)
from musicgen_core.util.atomic import write_jsonl

OPTIONS = {"seed": 7, "segment_frames": 40, "min_segment_ratio": 0.8}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    root = tmp_path_factory.mktemp("corpora")
    return [write_corpus(root, "a", num_frames=30), write_corpus(root, "b", num_train=3, num_frames=100, weight=2.0)]


@pytest.fixture(scope="module")
def tracks(corpora: list[tuple[Path, Path]]) -> TrackTable:
    manifests, indexes = zip(*corpora, strict=True)
    return open_tracks(manifests, indexes, "train", SPEC)


def test_batches_hold_the_codes_of_the_segments_that_were_drawn(
    tracks: TrackTable, corpora: list[tuple[Path, Path]]
) -> None:
    assert len(tracks.keys) == 9
    assert tracks.weights_N is not None
    shards = [native.TokenShards(index) for _, index in corpora]
    with TokenBatches(tracks, batch_size=12, **OPTIONS) as batches:
        batch = next(batches)
    drawn, starts = native.sample_segments(7, 0, 0, 9, tracks.num_frames_N, tracks.weights_N, 40, 0.8)
    after, starts_after = native.sample_segments(7, 1, 0, 3, tracks.num_frames_N, tracks.weights_N, 40, 0.8)
    assert batch.epochs_B.tolist() == [0] * 9 + [1] * 3
    assert batch.indexes_B.tolist() == [*range(9), *range(3)]
    assert batch.codes_BKT.dtype == torch.int64
    assert batch.mask_BT.dtype == torch.bool
    for i, (track, start) in enumerate(zip([*drawn, *after], [*starts, *starts_after], strict=True)):
        shard = shards[tracks.shard_N[track]]
        codes_KT = shard.read(shard.find(tracks.keys[track]), int(start), 40)
        num_valid = codes_KT.shape[1]
        assert batch.tracks[i] == tracks.keys[track]
        assert batch.captions[i] == tracks.captions[track]
        assert np.array_equal(batch.codes_BKT[i, :, :num_valid], codes_KT)
        assert (batch.codes_BKT[i, :, num_valid:] == SPEC.card).all()
        assert batch.mask_BT[i].sum() == num_valid == batch.global_num_valid[i]
    assert (batch.global_num_valid < 40).any()


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_ranks_share_out_the_same_global_batches(tracks: TrackTable, world_size: int) -> None:
    def take(rank: int, size: int) -> list:
        with TokenBatches(tracks, batch_size=12, rank=rank, world_size=size, **OPTIONS) as batches:
            return [next(batches) for _ in range(3)]

    whole = take(0, 1)
    shares = [take(rank, world_size) for rank in range(world_size)]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert torch.equal(torch.cat([part.codes_BKT for part in parts]), batch.codes_BKT)
        assert [key for part in parts for key in part.tracks] == batch.tracks
        assert {part.digest for part in parts} == {batch.digest}
        assert all(np.array_equal(part.global_num_valid, batch.global_num_valid) for part in parts)


def test_state_counts_what_was_handed_out_and_resumes_anywhere(tracks: TrackTable) -> None:
    with TokenBatches(tracks, batch_size=4, **OPTIONS) as batches:
        digests = [next(batches).digest for _ in range(6)]
        assert batches.state_dict() == {"next_sample": 24}
        batches.load_state_dict({"next_sample": 8})
        assert next(batches).digest == digests[2]
        batches.load_state_dict({"next_sample": 4_000_000_000})
        assert next(batches).epochs_B[0] == 4_000_000_000 // 9
    assert len(set(digests)) == 6


def test_split_cuts_into_micro_batches(tracks: TrackTable) -> None:
    with TokenBatches(tracks, batch_size=6, **OPTIONS) as batches:
        batch = next(batches)
    parts = list(batch.split(2))
    assert [len(part.tracks) for part in parts] == [2, 2, 2]
    assert torch.equal(torch.cat([part.codes_BKT for part in parts]), batch.codes_BKT)
    assert np.concatenate([part.indexes_B for part in parts]).tolist() == batch.indexes_B.tolist()


@pytest.mark.parametrize(("world_size", "batch_size"), [(1, 3), (2, 2), (3, 4)])
def test_validation_sees_every_segment_once_whatever_the_ranks(
    tracks: TrackTable, world_size: int, batch_size: int
) -> None:
    def take(rank: int, size: int, batch: int) -> list:
        options = {"num_segments": 7, "segment_frames": 40, "min_segment_ratio": 0.8}
        return list(valid_batches(tracks, batch_size=batch, rank=rank, world_size=size, **options))

    (whole,) = take(0, 1, 7)
    shares = [take(rank, world_size, batch_size) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    seen = {}
    for batch in (batch for share in shares for batch in share):
        assert batch.codes_BKT.shape == (batch_size, 4, 40)
        for i, index in enumerate(batch.indexes_B):
            if batch.mask_BT[i].any():
                assert index not in seen
                seen[int(index)] = batch.codes_BKT[i]
    assert torch.equal(torch.stack([seen[i] for i in range(7)]), whole.codes_BKT)


def test_another_codec_is_refused(corpora: list[tuple[Path, Path]]) -> None:
    manifest, index = corpora[0]
    with pytest.raises(ValueError, match=f"codes of codec {'0' * 32}, but the config's codec `made_up` is {'1' * 32}"):
        open_tracks([manifest], [index], "train", dataclasses.replace(SPEC, digest="1" * 32))
    with pytest.raises(ValueError, match="4 codebooks of 64 codes, but codec `made_up` has 4 of 2048"):
        open_tracks([manifest], [index], "train", dataclasses.replace(SPEC, card=2048))


def test_a_track_without_codes_is_named(corpora: list[tuple[Path, Path]], tmp_path: Path) -> None:
    record = make_record("a", "train", "f" * 32, "lost.wav", None, 10, 1.0)
    write_jsonl(tmp_path / "train.jsonl", [record.to_dict()])
    with pytest.raises(ValueError, match=r"track f{32} \(lost.wav\) has no codes in .*index.bin; tokenise"):
        open_tracks([tmp_path], [corpora[0][1]], "train", SPEC)


def test_counts_that_do_not_fit_are_refused(tracks: TrackTable, corpora: list[tuple[Path, Path]]) -> None:
    with pytest.raises(ValueError, match="a batch of 5 segments does not divide over 2 processes"):
        TokenBatches(tracks, batch_size=5, world_size=2, **OPTIONS)
    with pytest.raises(ValueError, match="1 manifest folders but 2 token indexes"):
        open_tracks([corpora[0][0]], [index for _, index in corpora], "train", SPEC)


def test_segment_frames_follow_the_codec() -> None:
    assert count_segment_frames(30.0, SPEC) == 1500
    assert count_segment_frames(0.001, SPEC) == 1
