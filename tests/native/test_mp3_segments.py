"""MPEG audio of every kind: a segment is the slice of the whole decode, to the bit, and the whole is what another
decoder makes of it: libsndfile's, which is mpg123. (FFmpeg's differs at 24 kHz, where it takes 330 for 332 in the table
of scale factor bands, ISO/IEC 13818-3, B.2.)"""

from __future__ import annotations

import functools
import subprocess

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from musicgen_core import native

from .conftest import make, signal
from .mp3_files import ENCODED, MADE, mpeg

__all__ = ["mpeg"]


@functools.cache
def whole(path):
    return native.decode(path)


@pytest.mark.parametrize("name", [*ENCODED, *MADE])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 104_000), length=st.one_of(st.integers(0, 30_000), st.sampled_from([0, 1, 1 << 40])))
@example(start=0, length=1)
@example(start=0, length=1 << 62)
@example(start=99_999, length=5000)
@example(start=1 << 62, length=1 << 62)
@example(start=576 * 40, length=576)
@example(start=1152 * 40, length=1152)
@example(start=1152 * 41 - 1105, length=1)
def test_segment_is_the_slice_of_the_whole(mpeg, name, start, length):
    path = mpeg(name)
    expected, expected_hz = whole(path)
    segment, rate_hz = native.decode_segment(path, start, length)
    expected = expected[:, start : start + length]
    assert rate_hz == expected_hz
    assert segment.shape == expected.shape
    assert segment.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", [*ENCODED, *MADE])
def test_first_and_last_samples(mpeg, name):
    path = mpeg(name)
    expected, _ = whole(path)
    num_samples = expected.shape[1]
    for start in (0, 1, num_samples - 1, num_samples - 2, num_samples, num_samples + 1):
        segment, _ = native.decode_segment(path, start, 1)
        assert segment.tobytes() == expected[:, start : start + 1].tobytes()


@pytest.mark.parametrize("name", [*ENCODED, *MADE])
def test_probe_gives_the_length_and_memory_the_samples(mpeg, name):
    path = mpeg(name)
    expected, rate_hz = whole(path)
    info = native.probe(path)
    assert (info.sample_rate_hz, info.num_channels, info.num_samples) == (rate_hz, *expected.shape)
    assert info.codec == info.container == ("mp2" if name.startswith("layer2") else "mp3")
    from_bytes, _ = native.decode(path.read_bytes(), "member.mp3")
    assert from_bytes.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ENCODED)
def test_the_whole_is_what_another_decoder_makes(mpeg, name):
    wav_CN, rate_hz = whole(mpeg(name))
    if name == "bare_vbr":  # whose length libsndfile guesses by its first frames
        command = ["ffmpeg", "-v", "error", "-i", str(mpeg(name)), "-f", "f32le", "-"]
        raw = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
        other_NC = np.frombuffer(raw, "<f4").reshape(-1, 2)
    else:
        other_NC, other_hz = soundfile.read(mpeg(name), dtype="float32", always_2d=True)
        assert rate_hz == other_hz
    assert wav_CN.shape == other_NC.T.shape
    np.testing.assert_allclose(wav_CN, other_NC.T, atol=5e-6)


@pytest.mark.parametrize("name", [name for name in ENCODED if ENCODED[name][0][1] == "libmp3lame"])
def test_gaps_are_trimmed(mpeg, name):
    wav_CN, _ = whole(mpeg(name))
    frame = 1152 if ENCODED[name][1] >= 32_000 else 576
    if name.startswith("bare"):
        assert wav_CN.shape[1] % frame == 0
        assert 100_001 + frame <= wav_CN.shape[1] <= 100_001 + 4 * frame
    else:
        assert wav_CN.shape[1] == 100_001


@pytest.mark.parametrize("name", [name for name in MADE if MADE[name][2]])
def test_what_surrounds_the_frames_changes_no_sample(mpeg, name):
    assert whole(mpeg(name))[0].tobytes() == whole(mpeg(MADE[name][0]))[0].tobytes()


def test_joined_files_are_read_to_the_end(mpeg):
    """The tag of the first file knows nothing of the second: players go on, and so do we."""
    once, twice = whole(mpeg("vbr_0"))[0], whole(mpeg("joined"))[0]
    assert twice[:, :100_001].tobytes() == once.tobytes()
    assert twice.shape[1] >= 200_002


def test_a_cut_beginning_costs_only_what_it_lacks(mpeg):
    """Without the frames before it, the first frames lack main data and are silent; then all is as in the whole."""
    expected = whole(mpeg("bare_cbr"))[0][:, 37 * 1152 :]
    found = whole(mpeg("begins_midway"))[0]
    assert found.shape == expected.shape
    assert found[:, 8 * 1152 :].tobytes() == expected[:, 8 * 1152 :].tobytes()


def test_a_tag_that_counts_no_frames_still_trims_their_end(tmp_path):
    """Its padding is known, but not where it begins until all frames are found."""
    data = bytearray(make(tmp_path, "mp3_vbr", signal(60_001)).read_bytes())
    id_at = data.index(b"Xing")
    encoder_at = next(data.index(name, id_at) for name in (b"LAME", b"Lavf", b"Lavc") if name in data[id_at:])
    data[id_at + 8 : id_at + 12] = bytes(4)
    data[encoder_at + 34 : encoder_at + 36] = bytes(2)  # its checksum: none
    path = tmp_path / "uncounted.mp3"
    path.write_bytes(data)
    whole_CN, _ = native.decode(path)
    assert whole_CN.shape == (2, 60_001)
    for start, count in ((59_000, 1001), (59_900, 300), (60_001, 50), (60_300, 10), (0, 1 << 40), (100, 700)):
        path.touch()
        found, _ = native.decode_segment(path, start, count)
        assert found.tobytes() == whole_CN[:, start : start + count].tobytes()
        assert found.shape[1] == max(0, min(count, 60_001 - start))
