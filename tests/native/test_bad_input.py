"""Files that are not what they seem: each ends in one typed error that names it, quickly, without a crash."""

from __future__ import annotations

import os
import re
import resource
import struct

import numpy as np
import pytest
import soundfile

from musicgen_core import native

from .conftest import FORMATS, NOISY, make, signal


def refused(path, error=native.AudioError):
    """What decode says of a file that it must refuse; probe may refuse it or not."""
    with pytest.raises(error) as caught:
        native.decode(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_missing_file(tmp_path):
    for call in (native.probe, native.decode, native.hash_file, lambda p: native.decode_segment(p, 0, 1)):
        with pytest.raises(FileNotFoundError) as caught:
            call(tmp_path / "nowhere.wav")
        assert caught.value.filename == str(tmp_path / "nowhere.wav")


def test_folder_and_pipe(tmp_path):
    with pytest.raises(IsADirectoryError):
        native.decode(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    # opening a pipe would wait for a writer, so open one first
    end = os.open(tmp_path / "pipe.wav", os.O_RDWR)
    try:
        refused(tmp_path / "pipe.wav", native.UnsupportedAudioError)
    finally:
        os.close(end)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"\x00" * 5000, b"# not music\n" * 4000, b"\xff" * 5000])
def test_not_audio(tmp_path, content):
    path = tmp_path / "renamed.mp3"
    path.write_bytes(content)
    refused(path)
    with pytest.raises(native.AudioError):
        native.probe(path)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_not_mp3(tmp_path, seed):
    path = tmp_path / "noise.mp3"
    path.write_bytes(np.random.default_rng(seed).bytes(300_000))
    refused(path)
    with pytest.raises(native.AudioError):
        native.probe(path)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.77])
def test_truncated_is_never_silently_shorter(encoded, tmp_path, name, share):
    whole = encoded(name).read_bytes()
    path = tmp_path / encoded(name).name
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path)


def test_ogg_cut_between_two_pages(encoded, tmp_path):
    """Nothing in the file is damaged then; but no page says that it is the last."""
    for name in ("vorbis", "vorbis_ffmpeg", "opus"):
        whole = encoded(name).read_bytes()
        path = tmp_path / f"{name}.ogg"
        path.write_bytes(whole[: whole.index(b"OggS", len(whole) // 2)])
        assert "too early" in refused(path, native.CorruptAudioError)


def test_adts_cut_in_its_last_frame(encoded, tmp_path):
    whole = encoded("aac_adts").read_bytes()
    path = tmp_path / "cut.aac"
    for missing in (1, 100, 300):
        path.write_bytes(whole[:-missing])
        refused(path, native.CorruptAudioError)
    path.write_bytes(whole + whole[:5])  # not even a header
    refused(path, native.CorruptAudioError)
    path.write_bytes(whole + b"TAG" + bytes(125))
    assert native.decode(path)[0].shape == native.decode(encoded("aac_adts"))[0].shape


def test_chained_ogg_is_not_half_read(encoded, tmp_path):
    """Two songs in one file: reading only the first would lose the second silently."""
    path = tmp_path / "chained.ogg"
    path.write_bytes(encoded("vorbis").read_bytes() + encoded("opus").read_bytes())
    assert "another stream" in refused(path)
    with pytest.raises(native.AudioError):
        native.decode_segment(path, 0, 100)


@pytest.mark.parametrize("name", ["wav_u8", "wav_s24", "wav_f64", "wav_extensible", "aiff_s16", "aiff_s32"])
def test_a_segment_of_a_damaged_header(encoded, tmp_path, name):
    """What the short way to samples makes of a header is what the long way makes of it."""
    whole = encoded(name).read_bytes()
    path = tmp_path / encoded(name).name
    rng = np.random.default_rng(5)
    for _ in range(200):
        data = bytearray(whole)
        for position in rng.integers(4, 60, int(rng.integers(1, 3))):
            data[position] = int(rng.choice([0, 1, 2, 16, 24, 32, 128, 255, rng.integers(0, 256)]))
        path.write_bytes(data)
        try:
            sought, rate_hz = native.decode_segment(path, 1000, 50)
        except native.AudioError:
            continue
        expected, expected_hz = native.decode_segment(path, 1000, 50, from_start=True)
        assert (sought.tobytes(), sought.shape, rate_hz) == (expected.tobytes(), expected.shape, expected_hz)


@pytest.mark.parametrize("name", [n for n in FORMATS if n not in NOISY])
def test_a_segment_of_a_damaged_file(encoded, tmp_path, name):
    """Is the slice of the whole, or an error, or the slice of what would be there without the damage elsewhere."""
    whole = encoded(name).read_bytes()
    sound, _ = native.decode(encoded(name))
    path = tmp_path / encoded(name).name
    rng = np.random.default_rng(11)
    for _ in range(12):
        data = bytearray(whole)
        for position in rng.integers(2000, len(data), 2):
            data[position] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        start = int(rng.integers(0, sound.shape[1] - 5000))
        from_start, sought = outcome(path, start, from_start=True), outcome(path, start, from_start=False)
        if sought is None:
            assert from_start is None
        elif from_start is not None:  # else there is damage before the segment, which seeking passes by
            assert sought.tobytes() == from_start.tobytes()


def outcome(path, start, from_start):
    """5000 samples, or None for a typed error."""
    try:
        return native.decode_segment(path, start, 5000, from_start=from_start)[0]
    except native.AudioError:
        return None


PLACES = r"\d+\.\d+ s\b|byte \d|\d bytes|sample \d|\d of \d+ samples"


@pytest.mark.parametrize("name", FORMATS)
def test_errors_say_where(encoded, tmp_path, name):
    """A number that leads to the place in the file, or what is there against what should be."""
    whole = encoded(name).read_bytes()
    path = tmp_path / encoded(name).name
    messages = []
    for share in (0.01, 0.3, 0.77, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        messages.append(refused(path))
    rng = np.random.default_rng(3)
    for place in rng.integers(1000, len(whole) - 1000, 6):
        path.write_bytes(whole[:place] + rng.bytes(900) + whole[place + 900 :])
        try:
            native.decode(path)
        except native.AudioError as error:
            messages.append(str(error))
    silent = [message for message in messages if not re.search(PLACES, message.removeprefix(str(path)))]
    # of no format at all, then, or of no place
    known = ("not audio, or of a format that is not read", "the samples do not match the checksum in the file")
    assert [message for message in silent if not message.endswith(known)] == []


def test_truncation_gives_both_numbers(encoded, tmp_path):
    path = tmp_path / "cut.mp3"
    data = encoded("mp3_vbr").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert "of 150001 samples" in refused(path, native.CorruptAudioError)


@pytest.mark.parametrize("name", FORMATS)
def test_damage_raises_or_decodes(encoded, tmp_path, name):
    """40 mutants each: nothing but an AudioError may come out, and nothing that is not finite."""
    whole = encoded(name).read_bytes()
    path = tmp_path / encoded(name).name
    rng = np.random.default_rng(len(name))
    for _ in range(40):
        data = bytearray(whole)
        window = len(data) if rng.random() < 0.5 else 600
        for position in rng.integers(0, window, int(rng.integers(1, 60))):
            data[position] = int(rng.integers(0, 256))
        path.write_bytes(data)
        for call in (native.probe, native.decode, lambda p: native.decode_segment(p, 70_000, 9000)):
            message = str(path)
            try:
                result = call(path)
                assert not isinstance(result, tuple) or np.isfinite(result[0]).all()
            except native.AudioError as error:
                message = str(error)
            assert str(path) in message


def test_flac_checksum(tmp_path):
    path = make(tmp_path, "flac_s16")
    data = bytearray(path.read_bytes())
    data[30] ^= 1  # inside the MD5 of STREAMINFO
    path.write_bytes(data)
    assert "checksum" in refused(path, native.CorruptAudioError)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(tmp_path, bad):
    wav = signal(4000)
    wav[1, 2345] = bad
    path = tmp_path / "x.wav"
    soundfile.write(path, wav.T, 44_100, subtype="FLOAT")
    assert "sample 2345 of channel 1" in refused(path, native.CorruptAudioError)
    with pytest.raises(native.CorruptAudioError, match="sample 2345 of channel 1"):
        native.decode_segment(path, 2300, 100)
    assert native.decode_segment(path, 0, 2345)[0].shape == (2, 2345)


def wav_file(num_channels=1, rate_hz=8000, data=b"\0\0" * 100, data_bytes=None, bits=16):
    block = num_channels * bits // 8
    head = struct.pack("<HHIIHH", 1, num_channels, rate_hz, (rate_hz * block) & 0xFFFFFFFF, block & 0xFFFF, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head
    body += b"data" + struct.pack("<I", len(data) if data_bytes is None else data_bytes) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_a_header_cannot_claim_memory(tmp_path):
    path = tmp_path / "claims.wav"
    path.write_bytes(wav_file(data_bytes=0xFFFF_FF00))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, native.CorruptAudioError)
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 500, "4 GiB are claimed"


def test_no_samples(tmp_path):
    path = tmp_path / "empty.wav"
    path.write_bytes(wav_file(data=b""))
    refused(path)


def test_limits(tmp_path):
    path = tmp_path / "wide.wav"
    path.write_bytes(wav_file(num_channels=33, data=bytes(66 * 10)))
    refused(path)
    path.write_bytes(wav_file(rate_hz=2_000_000))
    refused(path, native.LimitError)
    path.write_bytes(wav_file(rate_hz=0))
    refused(path)


def test_bytes_are_called_by_their_name():
    with pytest.raises(native.UnsupportedAudioError, match=r"00001\.flac"):
        native.decode(b"nothing" * 100, "00001.flac")
    with pytest.raises(native.UnsupportedAudioError, match="700 bytes"):
        native.decode(b"nothing" * 100)


def test_errors_are_a_family():
    for error in (native.CorruptAudioError, native.UnsupportedAudioError, native.LimitError):
        assert issubclass(error, native.AudioError)
    assert issubclass(native.AudioError, ValueError)
    assert issubclass(native.ShardError, ValueError)
    assert not issubclass(native.ShardError, native.AudioError)
    assert native.CorruptAudioError.__module__ == "musicgen_core.native"
