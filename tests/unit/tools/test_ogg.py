import io

import numpy as np
import pytest
import soundfile

from musicgen_core.tools.ogg import set_serial


def _encode(wav_N: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wav_N, 44_100, format="OGG", subtype="VORBIS")
    return buffer.getvalue()


def test_serial_is_all_that_differs_and_the_stream_stays_valid() -> None:
    wav_N = np.sin(np.arange(44_100) * 0.05) * 0.3
    data = _encode(wav_N)
    fixed = set_serial(data, 7)
    assert fixed == set_serial(set_serial(data, 99), 7)
    assert int.from_bytes(fixed[14:18], "little") == 7
    original = int.from_bytes(data[14:18], "little")
    assert set_serial(fixed, original) == data  # our checksums equal the encoder's
    assert np.array_equal(soundfile.read(io.BytesIO(fixed))[0], soundfile.read(io.BytesIO(data))[0])


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="no Ogg page at byte 0 of 4"):
        set_serial(b"RIFF", 1)
