"""What an edit list leaves out of an MP4 file is not there: as ffmpeg plays it, and in segments too."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicgen_core import native

from .conftest import NUM_SAMPLES, RATE_HZ

CUT_SEC = 1.01
LENGTH_SEC = 1.5

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


def run(*arguments: object) -> bytes:
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True).stdout


@pytest.fixture(scope="module")
def cut(encoded, tmp_path_factory):
    """cut(name) -> the file from 1.01 s on, its packets copied: an edit list says where in the first one it begins."""
    folder, made = tmp_path_factory.mktemp("cut"), {}

    def get(name):
        if name not in made:
            made[name] = folder / f"{name}.m4a"
            run("-ss", CUT_SEC, "-i", encoded(name), "-c", "copy", made[name])
        return made[name]

    return get


@pytest.mark.parametrize("name", ["m4a_alac", "m4a_alac_s24"])
def test_alac_is_cut_to_the_sample(encoded, cut, name):
    whole_CN, _ = native.decode(encoded(name))
    wav_CN, rate_hz = native.decode(cut(name))
    assert wav_CN.shape == (2, NUM_SAMPLES - round(CUT_SEC * RATE_HZ))
    assert wav_CN.tobytes() == whole_CN[:, round(CUT_SEC * RATE_HZ) :].tobytes()
    theirs = np.frombuffer(run("-i", cut(name), "-f", "f32le", "-"), "<f4").reshape(-1, 2).T
    np.testing.assert_array_equal(wav_CN, theirs)
    info = native.probe(cut(name))
    assert (info.num_samples, info.sample_rate_hz) == (wav_CN.shape[1], rate_hz)


def test_the_end_of_an_edit_counts_too(encoded, tmp_path):
    """Not by ffmpeg, which shortens the last packet as well: a list that was shortened by hand."""
    data = bytearray(encoded("m4a_alac").read_bytes())
    assert data.count(b"elst") == 1
    place = data.index(b"elst") + 4
    assert int.from_bytes(data[place + 4 : place + 8], "big") == 1
    movie_hz = int.from_bytes(data[data.index(b"mvhd") + 16 :][:4], "big")
    data[place + 8 : place + 12] = round(LENGTH_SEC * movie_hz).to_bytes(4, "big")
    data[place + 12 : place + 16] = (5000).to_bytes(4, "big")
    path = tmp_path / "edited.m4a"
    path.write_bytes(data)
    expected = native.decode(encoded("m4a_alac"))[0][:, 5000 : 5000 + round(LENGTH_SEC * RATE_HZ)]
    assert native.decode(path)[0].tobytes() == expected.tobytes()
    assert native.probe(path).num_samples == expected.shape[1]


@pytest.mark.parametrize("name", ["m4a_alac", "m4a_alac_s24", "m4a_aac_plain"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.one_of(st.integers(0, NUM_SAMPLES), st.sampled_from([0, 1, 514, 515, 516, 4610, 4611])),
    count=st.one_of(st.integers(0, 20_000), st.just(1 << 62)),
)
def test_a_segment_is_the_slice_of_the_whole(cut, name, start, count):
    whole_CN, rate_hz = native.decode(cut(name))
    expected = whole_CN[:, start : start + count]
    for from_start in (False, True):
        found, found_hz = native.decode_segment(cut(name), start, count, from_start=from_start)
        assert (found.shape, found_hz) == (expected.shape, rate_hz)
        assert found.tobytes() == expected.tobytes()


def test_a_cut_file_that_is_cut_off_is_refused(cut, tmp_path):
    data = cut("m4a_alac").read_bytes()
    path = tmp_path / "short.m4a"
    place = data.index(b"mdat") - 4
    size = int.from_bytes(data[place : place + 4], "big")
    path.write_bytes(data[: place + size * 2 // 3])  # without its header, which lies behind
    with pytest.raises(native.AudioError, match=r"short\.m4a"):
        native.decode(path)
