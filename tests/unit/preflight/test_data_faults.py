"""Each fault of audio and codes is named, and a corpus without fault passes."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_preflight import FILE_HZ, SmallProject, make_sound

from musicgen_core import native
from musicgen_core.codec.base import encode_track
from musicgen_core.preflight.codes import check_codes, find_order, measure_agreement
from musicgen_core.preflight.finding import Finding
from musicgen_core.preflight.material import Material, open_material
from musicgen_core.preflight.rate import check_files, check_lengths
from musicgen_core.preflight.sound import check_level, check_silence, silent_share
from musicgen_core.preflight.trip import check_round_trip, make_excerpts
from musicgen_core.preflight.tuning import check_tuning, measure_tuning


def reopen(project: SmallProject) -> Material:
    return open_material(project.root, None, "cpu")


def codebooks(material: Material, count: int = 3) -> Finding:
    records = material.train[:count]
    return check_codes(material, records, material.read_prepared(records), material.root.tokenize)


def test_a_sound_corpus_passes(sound: Material) -> None:
    records = sound.train[:6]
    originals = sound.read_prepared(records)
    findings = [
        check_lengths(sound),
        check_files(sound),
        check_tuning(records, originals, sound.spec.sample_rate_hz),
        check_codes(sound, records, originals, sound.root.tokenize),
        check_level(records, originals),
        check_silence(sound),
    ]
    assert [(one.check, one.level) for one in findings if one.level != "ok"] == []


def test_swapped_codebooks_are_named(project: SmallProject) -> None:
    project.change_codes(lambda path, codes_KT: codes_KT[[0, 2, 1, 3]])
    finding = codebooks(reopen(project))
    assert finding.level == "problem"
    assert finding.text.startswith("swapped codebooks: stored 1 is the codec's 2, stored 2 is the codec's 1")


def test_the_decoded_side_tells_swapped_codebooks(sound: Material, project: SmallProject) -> None:
    """What is listened to is made of the stored codes."""
    project.change_codes(lambda path, codes_KT: codes_KT[::-1])
    records = [record for record in sound.train if "hiss" not in (record.caption or "")][:3]
    originals = sound.read_prepared(records)
    distances = []
    for material in (sound, reopen(project)):
        finding = check_round_trip(material, make_excerpts(material, records, originals))
        distances.append(np.mean(finding.figures["log_mel_db"]))
    assert distances[1] > distances[0] + 2


def test_codes_of_32_khz_taken_for_16_khz_are_named(project: SmallProject) -> None:
    """Tokenised without resampling: twice as long, an octave too low."""
    material = reopen(project)

    def encode_wrongly(path: str, codes_KT: np.ndarray) -> np.ndarray:
        wav_CN, rate_hz = native.decode(project.music / path)
        assert rate_hz == FILE_HZ
        return encode_track(material.codec, wav_CN, material.root.tokenize)

    project.change_codes(encode_wrongly)
    material = reopen(project)
    lengths, codes = check_lengths(material), codebooks(material, 2)
    assert lengths.level == codes.level == "problem"
    assert lengths.text.startswith("wrong sample rate: the codes of 30 of 30 tracks last 2 times as long")
    assert "as if audio of 32000 Hz were of 16000 Hz" in lengths.text
    assert codes.text.startswith("wrong sample rate: the codes are those of 32000 Hz audio taken for 16000 Hz")


def test_audio_prepared_at_a_wrong_rate_is_named(project: SmallProject) -> None:
    """Codes fit the prepared audio, but that is half as fast as the file."""
    project.change_audio(lambda path, wav_CN: native.resample(wav_CN, 16_000, 32_000))
    project.change_codes(lambda path, codes_KT: np.repeat(codes_KT, 2, axis=1))
    material = reopen(project)
    lengths, files = check_lengths(material), check_files(material)
    assert lengths.text.startswith("wrong sample rate: the prepared audio of 30 of 30 tracks last 2 times as long")
    assert files.level == "problem"
    assert "wrong sample rate" in files.text


def test_codes_of_other_audio_are_named(project: SmallProject) -> None:
    project.change_codes(lambda path, codes_KT: (codes_KT + 1) % 256)
    finding = codebooks(reopen(project))
    assert finding.level == "problem"
    assert finding.text.startswith("foreign codes: only ")


def test_silent_clips_are_named(project: SmallProject) -> None:
    """Nothing but one click: the scan's threshold for silence lets it pass."""

    silent, partly = (line["path"] for line in project.read("train")[:2])

    def silence(path: str, wav_CN: np.ndarray) -> np.ndarray:
        if path not in (silent, partly):
            return wav_CN
        click_CN = np.zeros_like(wav_CN)
        click_CN[:, 100 if path == silent else slice(0, wav_CN.shape[1] // 3)] = 0.5
        return click_CN

    project.change_audio(silence)
    finding = check_silence(reopen(project))
    assert finding.level == "problem"
    assert finding.text.startswith(f"1 silent clips ({silent}); 1 clips silent for more than half ({partly})")


def test_silence_far_down_a_corpus_is_found_by_its_codes(
    project: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = reopen(project)
    monkeypatch.setattr("musicgen_core.preflight.sound.NUM_LISTENED", 1)
    last = material.train[-1]
    project.change_audio(lambda path, wav_CN: wav_CN * 0 if path == last.path else wav_CN)

    def encode_silence(path: str, codes_KT: np.ndarray) -> np.ndarray:
        if path != last.path:
            return codes_KT
        return encode_track(material.codec, np.zeros((1, last.num_samples), np.float32), material.root.tokenize)

    project.change_codes(encode_silence)
    assert check_silence(reopen(project)).figures["silent"] == [last.path]


def test_share_of_silence() -> None:
    wav_CN = np.zeros((2, 16_000), dtype=np.float32)
    assert silent_share(wav_CN, 16_000) == 1.0
    wav_CN[1, :4_000] = 0.1
    assert silent_share(wav_CN, 16_000) == pytest.approx(0.7, abs=0.11)


def test_a_header_that_contradicts_itself_is_named(project: SmallProject, sound: Material) -> None:
    """Someone wrote another rate into the header and left the bytes per second."""
    path = project.music / sound.train[0].path
    data = bytearray(path.read_bytes())
    place = data.index(b"fmt ") + 12
    assert struct.unpack_from("<I", data, place)[0] == FILE_HZ
    struct.pack_into("<I", data, place, 16_000)
    path.write_bytes(bytes(data))
    point_to(project)
    finding = check_files(reopen(project))
    assert finding.level == "problem"
    assert f"{path.name}: wrong sample rate: its header says 16000 Hz" in finding.text
    assert "are 32000 Hz" in finding.text


def test_files_that_are_gone_are_a_warning(project: SmallProject, sound: Material) -> None:
    (project.music / sound.train[0].path).unlink()
    point_to(project)
    finding = check_files(reopen(project))
    assert (finding.level, "1 of 8 files are not where they were" in finding.text) == ("warning", True)


def test_clipping_and_offset_are_named(sound: Material) -> None:
    (wav_CN,) = sound.read_prepared(sound.train[:1])
    finding = check_level(sound.train[:1], [np.clip(20 * wav_CN, -1, 1)])
    assert (finding.level, "at full scale" in finding.text) == ("warning", True)
    finding = check_level(sound.train[:1], [wav_CN + 0.1])
    assert "a constant offset of 0.1" in finding.text


@pytest.mark.parametrize(("heard_hz", "cents"), [(32_000, 0.0), (29_400, -47.0), (34_830, 47.0)])
def test_tuning_tells_44_from_48_khz(heard_hz: int, cents: float) -> None:
    """Music of 48 kHz taken for 44.1 kHz sounds 147 cents lower: 47 below the next key."""
    wav_CN = make_sound("drone", 5, 4.0)[None].astype(np.float32)
    found, sure = measure_tuning(wav_CN, heard_hz)
    assert found == pytest.approx(cents, abs=3)
    assert sure > 0.5


def test_a_corpus_out_of_tune_is_a_warning(sound: Material) -> None:
    originals = [make_sound("drone", number, 3.0)[None].astype(np.float32) for number in range(4)]
    assert check_tuning(sound.train[:4], originals, FILE_HZ).level == "ok"
    finding = check_tuning(sound.train[:4], originals, 29_400)
    assert (finding.level, finding.text.startswith("wrong sample rate? 4 of 4 excerpts")) == ("warning", True)


def test_order_of_codebooks() -> None:
    random = np.random.default_rng(0)
    fresh_KT = random.integers(0, 64, (4, 300))
    assert find_order(measure_agreement(fresh_KT, fresh_KT)) is None
    assert find_order(measure_agreement(fresh_KT[[3, 0, 1, 2]], fresh_KT)) == [3, 0, 1, 2]
    assert find_order(measure_agreement(random.integers(0, 64, (4, 300)), fresh_KT)) is None


def point_to(project: SmallProject) -> None:
    """The copy's plan still says where the original's music lies."""
    path = project.home / "results/plan/where.json"
    text = path.read_text()
    original = str(Path(open_material(project.root, None, "cpu").folders["mine"]))
    path.write_text(text.replace(original, str(project.music)))


def test_without_tokens_the_remedy_is_said(project: SmallProject) -> None:
    shutil.rmtree(project.home / "results/tokens")
    with pytest.raises(ValueError, match="no tokens yet; run `snakemake --profile local tokens`"):
        reopen(project)
    shutil.rmtree(project.home / "results/plan")
    with pytest.raises(ValueError, match="absent or without runs; run `snakemake --profile local tokens` first"):
        reopen(project)


def test_an_unknown_run_is_one_line(project: SmallProject) -> None:
    with pytest.raises(ValueError, match=r"--run other: there is no such run; config\.yaml has base"):
        open_material(project.root, "other", "cpu")


def test_a_wav_that_libsndfile_reads_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from musicgen_core.preflight import rate

    soundfile.write(tmp_path / "a.wav", np.zeros(100), 8_000)
    assert rate._compare_readers(tmp_path / "a.wav") is None
    monkeypatch.setattr(soundfile, "info", lambda path: type("Info", (), {"samplerate": 44_100})())
    assert rate._compare_readers(tmp_path / "a.wav") == "wrong sample rate: 8000 Hz here, 44100 Hz by libsndfile"
