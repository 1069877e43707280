"""MPEG audio that is cut or damaged: noticed, or read the same way in whole and in part; never silently shorter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicgen_core import native

from .mp3_files import encode, frames, id3v2, mpeg, signal, vbri, xing

__all__ = ["mpeg"]


@pytest.mark.parametrize(
    "name", ["cbr_320", "vbr_0", "abr", "mpeg2_8_mono", "fraunhofer", "xing_alone", "layer2", "bare_vbr"]
)
def test_a_cut_is_noticed(mpeg, tmp_path, name):
    """At any byte, but for cuts between two frames of a file that no tag counts."""
    whole = mpeg(name).read_bytes()
    if name == "abr":
        whole = whole[:-128]  # its ID3v1 tag
    expected, _ = native.decode(mpeg(name))
    path = tmp_path / "cut.mp3"
    rng = np.random.default_rng(1)
    for less in (1, 2, 3, 10, 100, *rng.integers(1, len(whole) * 9 // 10, 12)):
        data = whole[: len(whole) - int(less)]
        if name == "bare_vbr" and int(less) in np.cumsum([len(frame) for frame in frames(whole)[::-1]]):
            continue
        path.write_bytes(data)
        for tail in (b"", b"TAG" + bytes(125)):
            path.write_bytes(data + tail)
            with pytest.raises(native.CorruptAudioError, match="truncated: ") as caught:
                native.decode(path)
            assert str(path) in str(caught.value)
            with pytest.raises(native.CorruptAudioError, match="truncated: "):
                native.decode_segment(path, expected.shape[1] - 100, 100)
        if less < len(whole) // 2:
            part, _ = native.decode_segment(path, 20_000, 3000)
            assert part.tobytes() == expected[:, 20_000:23_000].tobytes()


def test_the_message_says_what_is_missing(mpeg, tmp_path):
    path = tmp_path / "cut.mp3"
    data = mpeg("vbr_0").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(native.CorruptAudioError, match=r"truncated: \d+ of 100001 samples"):
        native.decode(path)
    data = mpeg("bare_cbr").read_bytes()
    path.write_bytes(data[:-7])
    with pytest.raises(
        native.CorruptAudioError, match=r"truncated: the frame at byte \d+ needs 4\d\d bytes, 4\d\d are there"
    ):
        native.decode(path)


def test_a_whole_frame_that_a_tag_counts_is_missed(mpeg, tmp_path):
    parts = frames(mpeg("bare_vbr").read_bytes())
    path = tmp_path / "short.mp3"
    size = sum(map(len, parts))
    for head, least in ((vbri(parts[1], len(parts), size), 1), (xing(parts[1], len(parts)), 2)):
        path.write_bytes(head + b"".join(parts[:-least]))
        with pytest.raises(native.CorruptAudioError, match="truncated"):
            native.decode(path)
    # an encoder that counts the tag's own frame is believed
    path.write_bytes(xing(parts[1], len(parts) + 1) + b"".join(parts))
    assert native.decode(path)[0].shape[1] == len(parts) * 1152
    path.write_bytes(b"".join(parts[:-1]))  # nobody counted
    assert native.decode(path)[0].shape[1] == (len(parts) - 1) * 1152


def test_a_lost_frame_that_a_tag_counts_is_missed(mpeg, tmp_path):
    data = bytearray(mpeg("vbr_0").read_bytes())
    at = data.index(b"\xff\xfb", len(data) // 2)
    data[at] = 0
    path = tmp_path / "lost.mp3"
    path.write_bytes(data)
    for call in (native.decode, lambda p: native.decode_segment(p, 90_000, 10)):
        with pytest.raises(native.CorruptAudioError):
            call(path)


@pytest.mark.parametrize("name", ["bare_cbr", "bare_mpeg25"])
def test_a_frame_that_lost_its_end_is_noticed(mpeg, tmp_path, name):
    parts = frames(mpeg(name).read_bytes())
    path = tmp_path / "lost.mp3"
    for left in (4, 30, len(parts[20]) - 1):
        path.write_bytes(b"".join([*parts[:20], parts[20][:left], *parts[21:]]))
        with pytest.raises(native.CorruptAudioError, match=r"damaged: the frame at byte .* is cut short at byte"):
            native.decode(path)


def test_a_change_of_format_midway_is_refused(mpeg, tmp_path):
    path = tmp_path / "mixed.mp3"
    one, two, three = (mpeg(name).read_bytes() for name in ("bare_cbr", "bare_mpeg25", "layer2"))
    for data in (one + two, one + three, one + b"junk between" * 9 + two):
        path.write_bytes(data)
        with pytest.raises(native.CorruptAudioError, match="midway, at byte"):
            native.decode(path)
        assert native.decode_segment(path, 50_000, 100)[0].shape == (2, 100)


def test_free_format_and_layer_1_are_refused(mpeg, tmp_path):
    path = tmp_path / "x.mp3"
    for word in (0xFFFB0064, 0xFFFF9064):
        path.write_bytes((word.to_bytes(4, "big") + bytes(413)) * 100)
        with pytest.raises(native.AudioError, match=r"x\.mp3"):
            native.decode(path)


def test_a_tag_alone_or_a_single_frame(mpeg, tmp_path):
    parts = frames(mpeg("bare_cbr").read_bytes())
    path = tmp_path / "tiny.mp3"
    path.write_bytes(parts[0])
    assert native.decode(path)[0].shape == (2, 1152)
    for data in (id3v2(5000), xing(parts[1], 0), parts[0][:-1], parts[0][:3]):
        path.write_bytes(data)
        with pytest.raises(native.AudioError):
            native.decode(path)


mutations = st.lists(
    st.tuples(st.sampled_from(["flip", "header", "insert", "remove", "zero"]), st.floats(0, 1), st.integers(1, 700)),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("name", ["bare_vbr", "vbr_0", "mpeg2_64", "layer2", "bare_mpeg25"])
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=mutations, starts=st.lists(st.integers(0, 101_000), min_size=3, max_size=3), seed=st.integers(0, 99))
def test_damage_is_read_the_same_in_part(mpeg, tmp_path, name, changes, starts, seed):
    """Where the whole can be decoded, so can every part, to the same bits; where not, one typed error says so."""
    data = bytearray(mpeg(name).read_bytes())
    rng = np.random.default_rng(seed)
    for kind, where, count in changes:
        at = int(where * (len(data) - 1))
        if kind == "flip":
            data[at] ^= count % 255 + 1
        elif kind == "header":
            at = max(data.find(b"\xff", at), 0)
            data[min(at + count % 4, len(data) - 1)] ^= 1 << count % 8
        elif kind == "insert":
            data[at:at] = rng.bytes(count)
        elif kind == "remove":
            del data[at : at + count]
        else:
            data[at : at + count] = bytes(len(data[at : at + count]))
    path = tmp_path / "damaged.mp3"
    path.write_bytes(data)
    expected, refusal = read(lambda: native.decode(path))
    if expected is None:
        assert str(path) in refusal
    else:
        assert np.isfinite(expected).all()
    for start in starts:
        segment, refusal = read(lambda start=start: native.decode_segment(path, start, 2000))
        if expected is not None:
            assert segment is not None, refusal
            assert segment.tobytes() == expected[:, start : start + 2000].tobytes()


def read(call):
    """The samples, or None and why not."""
    try:
        return call()[0], ""
    except native.AudioError as error:
        return None, str(error)


def test_a_file_written_anew_is_read_anew(tmp_path):
    path = tmp_path / "again.mp3"
    for offset in (0, 5000, 0):
        encode(path, ("-c:a", "libmp3lame", "-b:a", "128k"), signal(60_000)[:, offset : offset + 50_000], 44_100)
        expected, _ = native.decode(path)
        assert native.decode_segment(path, 40_000, 99)[0].tobytes() == expected[:, 40_000:40_099].tobytes()
