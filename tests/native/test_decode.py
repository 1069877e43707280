"""Whole decodes and probes, against independent decoders."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave

import numpy as np
import pytest
import soundfile

from musicgen_core import native

from .conftest import FORMATS, NUM_SAMPLES, RATE_HZ, make, signal

LOSSLESS = [n for n, f in FORMATS.items() if f.codec.startswith("pcm") or f.codec in ("flac", "alac")]


@pytest.mark.parametrize("name", FORMATS)
def test_probe_describes_what_decode_returns(encoded, name):
    path = encoded(name)
    info = native.probe(path)
    wav_CN, rate_hz = native.decode(path)
    assert (info.container, info.codec) == (FORMATS[name].container, FORMATS[name].codec)
    assert (info.sample_rate_hz, info.num_channels) == (rate_hz, wav_CN.shape[0])
    assert rate_hz == FORMATS[name].rate_hz
    assert info.num_samples == (None if info.container == "matroska" else wav_CN.shape[1])
    assert wav_CN.dtype == np.float32
    assert wav_CN.flags.c_contiguous


@pytest.mark.parametrize("name", [n for n, f in FORMATS.items() if f.subtype])
def test_decode_equals_soundfile(encoded, name):
    wav_CN, rate_hz = native.decode(encoded(name))
    expected, expected_hz = soundfile.read(encoded(name), dtype="float32", always_2d=True)
    assert rate_hz == expected_hz
    assert wav_CN.shape == expected.T.shape
    if name in LOSSLESS:
        np.testing.assert_array_equal(wav_CN, expected.T)
    else:
        np.testing.assert_allclose(wav_CN, expected.T, atol=5e-6)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize("name", [n for n, f in FORMATS.items() if not f.subtype])
def test_decode_equals_ffmpeg(encoded, name):
    wav_CN, _ = native.decode(encoded(name))
    decoder = ["-c:a", "libopus"] if FORMATS[name].codec == "opus" else []  # ffmpeg's own differs audibly at low rates
    command = ["ffmpeg", "-v", "error", *decoder, "-i", str(encoded(name)), "-f", "f32le", "-"]
    raw = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
    expected = np.frombuffer(raw, "<f4").reshape(-1, wav_CN.shape[0]).T
    if name == "mp3_no_tag":
        assert wav_CN.shape == expected.shape or wav_CN.shape[1] - expected.shape[1] == 1105  # the decoder's own delay
        wav_CN = wav_CN[:, wav_CN.shape[1] - expected.shape[1] :]
    length = min(wav_CN.shape[1], expected.shape[1])
    # ffmpeg 5 plays the padding after the last sample of an MP4 file, which its durations leave out
    assert 0 <= expected.shape[1] - wav_CN.shape[1] <= (1024 if name.startswith("m4a_aac") else 0)
    tolerance = {"flac": 0, "alac": 0, "aac": 1e-5, "opus": 2e-5}.get(FORMATS[name].codec, 5e-6)
    np.testing.assert_allclose(wav_CN[:, :length], expected[:, :length], atol=tolerance)


@pytest.mark.parametrize(
    "name", ["vorbis", "opus", "mp3", "mp3_vbr", "mp3_8k_mono", "m4a_aac", "m4a_aac_faststart", "webm_opus"]
)
def test_gapless_codecs_keep_length_and_place(encoded, name):
    wav_CN, _ = native.decode(encoded(name))
    assert wav_CN.shape[1] == NUM_SAMPLES
    expected = signal(rate_hz=FORMATS[name].rate_hz)[: wav_CN.shape[0]]
    shift = range(-3, 4)
    middle = slice(20_000, 120_000)
    match = [float(np.sum(np.roll(wav_CN, s, axis=1)[:, middle] * expected[:, middle])) for s in shift]
    assert shift[int(np.argmax(match))] == 0


@pytest.mark.parametrize("num_channels", [1, 2, 3, 6, 8])
def test_channels_keep_their_order(tmp_path, num_channels):
    wav_CN = np.arange(1, num_channels + 1, dtype=np.float32)[:, None] / 16 * np.ones((1, 999), np.float32)
    for suffix in ("wav", "flac"):
        path = tmp_path / f"x.{suffix}"
        soundfile.write(path, wav_CN.T, 48_000, subtype="PCM_16")
        np.testing.assert_array_equal(native.decode(path)[0], wav_CN)


def test_decode_bytes_equals_decode_file(encoded):
    for name in ("wav_s24", "flac_s16", "vorbis", "mp3"):
        path = encoded(name)
        from_bytes, rate_hz = native.decode(path.read_bytes(), "member.flac")
        np.testing.assert_array_equal(from_bytes, native.decode(path)[0])
        assert rate_hz == native.decode(str(path))[1]


def test_content_decides_not_the_suffix(encoded, tmp_path):
    path = tmp_path / "music.mp3"
    path.write_bytes(encoded("flac_s16").read_bytes())
    assert native.probe(path).container == "flac"


def test_samples_beyond_full_scale_stay(tmp_path):
    wav = np.array([[0.0, 1.5, -2.5, 1.0]], np.float32)
    soundfile.write(tmp_path / "hot.wav", wav.T, RATE_HZ, subtype="FLOAT")
    np.testing.assert_array_equal(native.decode(tmp_path / "hot.wav")[0], wav)


def test_wav_by_the_standard_library(tmp_path):
    pcm = np.array([[0, 1, -1, 32767, -32768]], np.int16)
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(pcm.tobytes())
    wav, rate_hz = native.decode(tmp_path / "x.wav")
    assert rate_hz == 8000
    np.testing.assert_array_equal(wav, pcm.astype(np.float32) / 32768)


def test_names_that_shells_dislike(tmp_path):
    path = tmp_path / "a 'b' \"c\" é 音.wav"
    soundfile.write(path, np.zeros((100, 1)), RATE_HZ)
    assert native.decode(path)[0].shape == (1, 100)
    assert native.hash_file(path) == native.hash_bytes(path.read_bytes())


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_tags(tmp_path, suffix):
    path = tmp_path / f"tagged.{suffix}"
    subtype = {"flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}[suffix]
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, subtype=subtype, format=suffix.upper()) as file:
        title = "Crossing" if suffix == "mp3" else "Überfahrt"  # libsndfile mislabels UTF-8 in ID3 tags
        file.title, file.artist, file.album = title, "The Testers", "Fixtures"
        file.genre, file.comment = "ambient", "made by a test"
        file.write(signal(num_channels=1)[0, :4096])
    tags = native.probe(path).tags
    assert (tags["title"], tags["artist"], tags["album"]) == (title, "The Testers", "Fixtures")
    assert tags["comment"] == "made by a test"
    if suffix != "mp3":  # libsndfile does not write a genre there
        assert tags["genre"] == "ambient"


def test_bpm_and_description_tags(tmp_path):
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg")
    source = tmp_path / "x.wav"
    soundfile.write(source, signal(4096).T, RATE_HZ)
    for suffix in ("mp3", "flac", "ogg"):
        path = tmp_path / f"x.{suffix}"
        tags = ("-metadata", "TBPM=128" if suffix == "mp3" else "BPM=128", "-metadata", "genre=House")
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", str(source), *tags, str(path)], check=True)
        assert float(native.probe(path).tags["bpm"]) == 128
        assert native.probe(path).tags["genre"] == "House"


def test_flac_without_length_is_counted(tmp_path):
    path = make(tmp_path, "flac_s16")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # STREAMINFO's total samples: 36 bits that end here
    data[22:26] = bytes(4)
    data[26:42] = bytes(16)  # and the MD5, as an encoder that could not seek back leaves it
    path.write_bytes(data)
    assert native.probe(path).num_samples == NUM_SAMPLES
    assert native.decode(path)[0].shape == (2, NUM_SAMPLES)


def test_soundfile_can_read_it_too(encoded):
    """The oracle itself: what the fixtures hold is what was asked for."""
    data, rate_hz = soundfile.read(io.BytesIO(encoded("wav_s16").read_bytes()), dtype="float32")
    assert rate_hz == RATE_HZ
    np.testing.assert_allclose(data.T, signal(), atol=2**-15)
