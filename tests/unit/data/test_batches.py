import dataclasses
import os
import pickle
import shutil
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from sampling_reference import Reference
from token_corpus import SPEC, make_record, write_corpus
from torch.utils.data import DataLoader

from musicgen_core import native
from musicgen_core.config.pattern import DelayPatternConfig
from musicgen_core.config.sampling import SamplingConfig
from musicgen_core.data.batches import Batch, TokenBatches, TokenDataset, count_segment_frames, valid_batches
from musicgen_core.data.tracks import TrackTable, open_tracks, write_track_list
from musicgen_core.patterns.layout import build_pattern
from musicgen_core.util.atomic import read_jsonl, write_jsonl
from musicgen_core.util.receipt import write_receipt

OPTIONS = {"seed": 7, "segment_frames": 40, "min_segment_ratio": 0.8}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    root = tmp_path_factory.mktemp("corpora")
    return [write_corpus(root, "a", num_frames=30), write_corpus(root, "b", num_train=3, num_frames=100, weight=2.0)]


@pytest.fixture(scope="module")
def tracks(corpora: list[tuple[Path, Path]]) -> TrackTable:
    manifests, indexes = zip(*corpora, strict=True)
    return open_tracks(manifests, indexes, "train", SPEC)


def take(tracks: TrackTable, count: int, **options: object) -> list[Batch]:
    with TokenBatches(TokenDataset(tracks, **{"batch_size": 12, **OPTIONS, **options})) as batches:
        return [next(batches) for _ in range(count)]


def same(one: Batch, other: Batch) -> bool:
    tensors = torch.equal(one.codes_BKT, other.codes_BKT) and torch.equal(one.mask_BT, other.mask_BT)
    return tensors and (one.tracks, one.captions, one.digest) == (other.tracks, other.captions, other.digest)


def test_batches_hold_the_codes_of_the_segments_that_were_drawn(
    tracks: TrackTable, corpora: list[tuple[Path, Path]]
) -> None:
    assert tracks.num_tracks == 9
    shards = [native.TokenShards(index) for _, index in corpora]
    lines = [read_jsonl(folder / "train.jsonl") for folder, _ in corpora]
    frames = [[line["num_samples"] // 320 for line in part] for part in lines]
    reference = Reference([(frames[0], [1.0] * 6), (frames[1], [2.0] * 3)], 7, 0, 40, 0.8)
    (batch,) = take(tracks, 1)
    assert batch.epochs_B.tolist() == [0] * 9 + [1] * 3
    assert batch.indexes_B.tolist() == [*range(9), *range(3)]
    assert batch.codes_BKT.dtype == torch.int64
    assert batch.mask_BT.dtype == torch.bool
    for i, (_, _, corpus, track, start) in enumerate(reference.draw(0, 12)):
        key = lines[corpus][track]["track"]
        codes_KT = shards[corpus].read(shards[corpus].find(key), start, 40)
        num_valid = codes_KT.shape[1]
        assert batch.tracks[i] == key
        assert batch.captions[i] == lines[corpus][track]["caption"]
        assert np.array_equal(batch.codes_BKT[i, :, :num_valid], codes_KT)
        assert (batch.codes_BKT[i, :, num_valid:] == SPEC.card).all()
        assert batch.mask_BT[i].sum() == num_valid == batch.global_num_valid[i]
    assert (batch.global_num_valid < 40).any()


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingConfig(),
        SamplingConfig(by="duration"),
        SamplingConfig(by="track", replacement=False, mix={"a": 2, "b": 1}),
    ],
    ids=["weight", "duration", "mix"],
)
@pytest.mark.parametrize("world_size", [2, 3, 4, 8])
def test_ranks_share_out_the_same_global_batches(tracks: TrackTable, world_size: int, sampling: SamplingConfig) -> None:
    options = {"batch_size": 24, "sampling": sampling}
    shares = [
        take(tracks, 3, rank=rank, world_size=world_size, num_threads=rank % 4 + 1, **options)
        for rank in range(world_size)
    ]
    for number, batch in enumerate(take(tracks, 3, **options)):
        parts = [share[number] for share in shares]
        assert torch.equal(torch.cat([part.codes_BKT for part in parts]), batch.codes_BKT)
        assert [key for part in parts for key in part.tracks] == batch.tracks
        assert {part.digest for part in parts} == {batch.digest}
        assert all(np.array_equal(part.global_num_valid, batch.global_num_valid) for part in parts)


def test_state_counts_what_was_handed_out_and_resumes_anywhere(tracks: TrackTable) -> None:
    with TokenBatches(TokenDataset(tracks, batch_size=4, **OPTIONS)) as batches:
        digests = [next(batches).digest for _ in range(6)]
        assert batches.state_dict() == {"next_sample": 24}
        batches.load_state_dict({"next_sample": 8})
        assert next(batches).digest == digests[2]
        batches.load_state_dict({"next_sample": 4_000_000_000})
        assert next(batches).epochs_B[0] == 4_000_000_000 // 9
    assert len(set(digests)) == 6


def test_every_track_once_per_epoch_without_replacement(tracks: TrackTable) -> None:
    batches = take(tracks, 3, batch_size=9, sampling=SamplingConfig(by="track", replacement=False))
    assert all(len(set(batch.tracks)) == 9 for batch in batches)
    assert len({tuple(batch.tracks) for batch in batches}) == 3


def test_a_mix_leaves_out_what_has_no_share(tracks: TrackTable) -> None:
    (batch,) = take(tracks, 1, batch_size=60, sampling=SamplingConfig(mix={"b": 0.1, "a": 0}))
    assert {caption.split()[0] for caption in batch.captions if caption} == {"pace"}
    assert set(batch.tracks) <= {tracks.lists[1].key(n) for n in range(3)}


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        (SamplingConfig(mix={"a": 1, "bb": 1}), "mix: unknown corpus `bb`; did you mean `b`"),
        (SamplingConfig(replacement=False), "by: weight needs replacement: true"),
    ],
)
def test_sampling_that_does_not_fit_is_refused(tracks: TrackTable, sampling: SamplingConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenDataset(tracks, batch_size=4, sampling=sampling, **OPTIONS)


@pytest.mark.parametrize("share", [{}, {"rank": 1, "world_size": 3, "num_threads": 2}])
def test_a_pattern_lays_codes_out(tracks: TrackTable, share: dict[str, int]) -> None:
    pattern = build_pattern(DelayPatternConfig(delays=(0, 1, 2, 3)), 4, 40)
    (plain,), (both,) = take(tracks, 1, **share), take(tracks, 1, pattern=pattern, **share)
    assert same(plain, both)
    codes_BKT = plain.codes_BKT.numpy()
    expected, _ = native.interleave(codes_BKT, pattern.step_KT, pattern.num_valid_steps, SPEC.card)
    assert both.sequence_BKS is not None
    assert np.array_equal(both.sequence_BKS, expected)


def test_split_cuts_into_micro_batches(tracks: TrackTable) -> None:
    (batch,) = take(tracks, 1, batch_size=6)
    parts = list(batch.split(2))
    assert [len(part.tracks) for part in parts] == [2, 2, 2]
    assert torch.equal(torch.cat([part.codes_BKT for part in parts]), batch.codes_BKT)
    assert np.concatenate([part.indexes_B for part in parts]).tolist() == batch.indexes_B.tolist()


def test_a_batch_in_hand_stays_as_it_is(tracks: TrackTable) -> None:
    with TokenBatches(TokenDataset(tracks, batch_size=4, **OPTIONS)) as batches:
        first = next(batches)
        before = first.codes_BKT.clone()
        for _ in range(8):
            next(batches)
    assert torch.equal(first.codes_BKT, before)


def loader(dataset: TokenDataset, **options: object) -> list[Batch]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork in a process with threads
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # more workers than cores
        return list(DataLoader(dataset, batch_size=None, **options))


@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": 0},
        {"num_workers": 2, "multiprocessing_context": "fork"},
        {"num_workers": 3, "multiprocessing_context": "fork"},
        {"num_workers": 2, "multiprocessing_context": "spawn"},
    ],
    ids=["none", "2 forked", "3 forked", "2 spawned"],
)
def test_a_data_loader_gives_the_same_batches_in_the_same_order(tracks: TrackTable, options: dict[str, object]) -> None:
    dataset = TokenDataset(tracks, batch_size=4, num_batches=7, rank=1, world_size=2, **OPTIONS)
    expected = take(tracks, 7, batch_size=4, rank=1, world_size=2)
    found = loader(dataset, **options)
    assert len(found) == 7
    assert all(same(*pair) for pair in zip(found, expected, strict=True))


def test_a_data_loader_continues_after_the_batch_that_was_used_last(tracks: TrackTable) -> None:
    expected = take(tracks, 8, batch_size=4)
    dataset = TokenDataset(tracks, batch_size=4, num_batches=5, **OPTIONS)
    dataset.seek(expected[2].next_sample)
    found = loader(dataset, num_workers=2, multiprocessing_context="fork")
    assert [batch.digest for batch in found] == [batch.digest for batch in expected[3:]]
    plain = TokenDataset(tracks, batch_size=4, **OPTIONS)
    assert [batch.digest for batch in islice(plain, 3)] == [batch.digest for batch in expected[:3]]
    state = plain.state_dict()
    again = TokenDataset(tracks, batch_size=4, **OPTIONS)
    again.load_state_dict(state)
    assert next(iter(again)).digest == expected[3].digest


def test_reading_ahead_goes_on_after_fork_and_pickle(tracks: TrackTable) -> None:
    expected = take(tracks, 3)
    dataset = pickle.loads(pickle.dumps(TokenDataset(tracks, batch_size=12, **OPTIONS)))
    with TokenBatches(dataset) as batches:
        next(batches)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                os._exit(0 if same(next(batches), expected[1]) and same(next(batches), expected[2]) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert same(next(batches), expected[1])


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
    write_track_list(tmp_path / "train.jsonl")
    lost = open_tracks([tmp_path], [corpora[0][1]], "train", SPEC)
    message = r"train.jsonl: line 1: track f{32} has no codes in .*index.bin; tokenise"
    with pytest.raises(ValueError, match=message):
        lost.check()
    with TokenBatches(TokenDataset(lost, batch_size=2, **OPTIONS)) as batches:
        for _ in range(2):  # asking again tries again
            with pytest.raises(ValueError, match=message):
                next(batches)


def test_a_manifest_without_its_table_or_with_another_is_named(
    corpora: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    folder, index = corpora[0]
    manifest = tmp_path / "train.jsonl"
    manifest.write_bytes((folder / "train.jsonl").read_bytes())
    with pytest.raises(ValueError, match=r"train.jsonl: no train.tracks beside it; make the manifest again"):
        open_tracks([tmp_path], [index], "train", SPEC)
    write_track_list(manifest)
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(lines[::-1]) + "\n")  # of the same size
    swapped = open_tracks([tmp_path], [index], "train", SPEC)
    with pytest.raises(ValueError, match=r"changed since train\.tracks was made"):
        swapped.check()
    with pytest.raises(ValueError, match=r"train.jsonl, line \d: not the track of its table"):
        next(iter(TokenDataset(swapped, batch_size=6, **OPTIONS)))
    with pytest.raises(ValueError, match="no track in the train split"):
        (tmp_path / "train.jsonl").write_text("")
        write_track_list(manifest)
        open_tracks([tmp_path], [index], "train", SPEC)


def test_a_flipped_bit_of_a_weight_is_noticed_at_the_start_of_a_run(
    corpora: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    source, index = corpora[0]
    folder = tmp_path / "a"
    shutil.copytree(source, folder)
    write_receipt(folder, "manifest", 1, {}, {}, 1.0)
    open_tracks([folder], [index], "train", SPEC).check()
    table = folder / "train.tracks"
    data, status = bytearray(table.read_bytes()), table.stat()
    data[64 + 6 * 32] ^= 1  # the first sum of weights: after 6 keys, ends and lengths
    table.write_bytes(data)
    os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ValueError, match=r"train\.tracks: its \d+ bytes are not those .* make the manifest again"):
        open_tracks([folder], [index], "train", SPEC).check()


def test_counts_that_do_not_fit_are_refused(tracks: TrackTable, corpora: list[tuple[Path, Path]]) -> None:
    with pytest.raises(ValueError, match="a batch of 5 segments does not divide over 2 processes"):
        TokenDataset(tracks, batch_size=5, world_size=2, **OPTIONS)
    with pytest.raises(ValueError, match="1 manifest folders but 2 token indexes"):
        open_tracks([corpora[0][0]], [index for _, index in corpora], "train", SPEC)


def test_segment_frames_follow_the_codec() -> None:
    assert count_segment_frames(30.0, SPEC) == 1500
    assert count_segment_frames(0.001, SPEC) == 1
