"""Codes cut into the caller's buffer, against numpy slices; and buffers that are refused."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
from token_corpus import SPEC, write_population

from musicgen_core import native
from musicgen_core.config.pattern import DelayPatternConfig
from musicgen_core.patterns.layout import build_pattern

FRAMES = [[100, 30, 57, 0, 1], [64, 200]]
T = 40


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    root = tmp_path_factory.mktemp("cut")
    lists, shards = zip(*(write_population(root, f"c{n}", frames) for n, frames in enumerate(FRAMES)), strict=True)
    return list(lists), list(shards)


def sampler(population, frame_KS=None, **options):
    options = {"seed": 3, "segment_frames": T, "min_segment_ratio": 0.5, "sample_by": "track", **options}
    return native.TokenSampler(
        *population, num_codebooks=SPEC.num_codebooks, special=SPEC.card, frame_KS=frame_KS, **options
    )


def delayed(*delays):
    return build_pattern(DelayPatternConfig(delays=delays), 4, T)


def reversed_rows():
    """A pattern without two consecutive frames, and with gaps."""
    frame_KS = np.full((4, 2 * T), -1)
    frame_KS[:, ::2] = np.arange(T)[::-1]
    frame_KS[2, 3] = 7  # a frame may stand twice
    return frame_KS


LAYOUTS = {
    "plain": None,
    "delay": delayed(0, 1, 2, 3).frame_KS(True),
    "delay, whole": delayed(0, 0, 3, 9).frame_KS(False),
    "scattered": reversed_rows(),
    "empty": np.full((4, 3), -1),
}


def expected(population, drawn, frame_KS, dtype):
    """[B, K, S] codes and mask by numpy."""
    frame_KS = np.broadcast_to(np.arange(T), (4, T)) if frame_KS is None else frame_KS
    codes, masks = [], []
    for number, row, start in zip(drawn.lists, drawn.rows, drawn.starts, strict=True):
        segment_KT = population[1][number].read(int(row), int(start), T)
        mask_KS = (frame_KS >= 0) & (frame_KS < segment_KT.shape[1])
        safe = np.where(mask_KS, frame_KS, 0)
        padded_KT = np.concatenate([segment_KT, np.zeros((4, 1), np.uint16)], axis=1)
        codes.append(np.where(mask_KS, np.take_along_axis(padded_KT.astype(dtype), safe, axis=1), SPEC.card))
        masks.append(mask_KS)
    return np.stack(codes), np.stack(masks)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.int64])
def test_cut_equals_slices(population, layout, dtype):
    frame_KS = LAYOUTS[layout]
    drawing = sampler(population, frame_KS)
    out = np.full((50, 4, drawing.num_steps), 9, dtype)
    mask = np.frombuffer(bytes([2]) * out.size, dtype=bool).reshape(out.shape).copy()
    drawn = drawing.batch(70, 50, out, mask)
    assert set(drawn.num_valid.tolist()) > {0, 1, T}
    codes, masks = expected(population, drawn, frame_KS, dtype)
    assert np.array_equal(out, codes)
    assert np.array_equal(mask.view(np.uint8), masks)
    again = np.full_like(out, 7)
    drawing.cut(drawn, again)
    assert np.array_equal(again, out)


@pytest.mark.parametrize("num_threads", [1, 2, 3, 4, 100])
def test_any_share_and_any_number_of_threads_give_the_same(population, num_threads):
    drawing = sampler(population, LAYOUTS["delay"])
    whole, mask = np.empty((24, 4, T + 1), np.int64), np.empty((24, 4, T + 1), bool)
    drawn = drawing.batch(5, 24, whole, mask)
    for world_size in (1, 2, 3, 4, 8):
        size = 24 // world_size
        for rank in range(world_size):
            share = slice(rank * size, (rank + 1) * size)
            out, masked = np.empty((size, 4, T + 1), np.int64), np.empty((size, 4, T + 1), bool)
            part = drawing.batch(5, 24, out, masked, share=share, num_threads=num_threads)
            assert np.array_equal(out, whole[share])
            assert np.array_equal(masked, mask[share])
            assert all(np.array_equal(getattr(part, f.name), getattr(drawn, f.name)) for f in dataclasses.fields(part))


def test_no_samples(population):
    drawing = sampler(population)
    assert len(drawing.batch(0, 0, np.empty((0, 4, T), np.int64))) == 0
    assert len(drawing.draw(0, 0)) == 0


@pytest.mark.parametrize(
    ("out", "mask", "message"),
    [
        (np.empty((2, 4, T - 1), np.int64), None, r"out has shape \[2, 4, 39\], the batch \[2, 4, 40\]"),
        (np.empty((2, 4 * T), np.int64), None, "out must be .* 3 axes, got int64 with 2 axes"),
        (np.empty((2, 4, T), np.float32), None, "out must be a numpy array of uint16, .* got float32 with 3 axes"),
        (np.empty((2, 4, T), ">i8"), None, "got >i8 with 3 axes"),
        (np.empty((2, T, 4), np.int64).transpose(0, 2, 1), None, "out must be C-contiguous"),
        (np.empty((2, 4, 2 * T), np.int64)[:, :, ::2], None, "out must be C-contiguous"),
        (np.broadcast_to(np.int64(0), (2, 4, T)), None, "out is read-only"),
        ([[1]], None, "out must be .* got <class 'list'>"),
        (np.empty((2, 4, T), np.int64), np.empty((2, 4, T), np.uint8), "mask must be a numpy array of bool"),
        (np.empty((2, 4, T), np.int64), np.empty((2, T), bool), "mask must be .* got bool with 2 axes"),
        (np.empty((2, 4, T), np.int64), np.empty((2, 4, 2 * T), bool)[:, :, ::2], "mask must be C-contiguous"),
    ],
)
def test_buffers_that_are_refused(population, out, mask, message):
    with pytest.raises(ValueError, match=message):
        sampler(population).batch(0, 2, out, mask)


def test_arguments_that_are_refused(population):
    drawing = sampler(population)
    drawn, out = drawing.draw(0, 2), np.empty((2, 4, T), np.int64)
    for changes, message in [
        ({"lists": np.array([0, 2])}, "list 2 of 2"),
        ({"rows": np.array([0, 99])}, "track 99 of"),
        ({"starts": np.array([0, -1])}, "start is -1"),
        ({"starts": np.array([0])}, "2 lists, 2 rows and 1 starts"),
    ]:
        with pytest.raises(ValueError, match=message):
            drawing.cut(dataclasses.replace(drawn, **changes), out)
    one = native.TokenSampler(
        *population, seed=0, segment_frames=T, min_segment_ratio=1.0, num_codebooks=4, special=40_000
    )
    with pytest.raises(ValueError, match="special token 40000 does not fit i16"):
        one.cut(drawn, out.astype(np.int16))
    three = native.TokenSampler(
        *population, seed=0, segment_frames=T, min_segment_ratio=1.0, num_codebooks=3, special=64
    )
    with pytest.raises(ValueError, match="4 codebooks, expected 3"):
        three.cut(drawn, np.empty((2, 3, T), np.int64))


def test_a_start_beyond_the_end_gives_nothing(population):
    drawing = sampler(population)
    drawn = dataclasses.replace(drawing.draw(0, 2), starts=np.array([10**6, sys.maxsize]))
    out, mask = np.zeros((2, 4, T), np.int64), np.ones((2, 4, T), bool)
    drawing.cut(drawn, out, mask)
    assert (out == SPEC.card).all()
    assert not mask.any()


def test_a_track_without_codes_is_named(population, tmp_path):
    lists, shards = population
    swapped = native.TokenSampler(
        lists, shards[::-1], seed=0, segment_frames=T, min_segment_ratio=1.0, num_codebooks=4, special=64
    )
    with pytest.raises(native.ShardError, match=r"c0.train.jsonl: line 1: track .* has no codes in .*c1.index.bin"):
        swapped.check()
    with pytest.raises(native.ShardError, match=r"has no codes in .*; tokenise the corpus again"):
        swapped.draw(0, 5)
    sampler(population).check()
