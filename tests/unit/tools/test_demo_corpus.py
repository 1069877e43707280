"""The demo corpus: reproducible, readable, and its captions true of the audio."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from musicgen_core import native
from musicgen_core.tools import demo_corpus
from musicgen_core.tools.composer import KEYS, Piece
from musicgen_core.tools.demo_corpus import compose_track
from musicgen_core.tools.mixdown import render
from musicgen_core.tools.styles import MAJOR, MINOR, STYLES

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "corpus"
    demo_corpus.run(out=folder, num_tracks=18, seed=3)
    return folder


@pytest.fixture(scope="module")
def pieces() -> list[tuple[Piece, np.ndarray]]:
    """Three pieces per genre with their mono waveforms [N]."""
    pieces = [compose_track(number, seed=0)[0] for number in range(24)]
    return [(piece, render(piece, RATE_HZ, 1)[0]) for piece in pieces]


def _audio(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".wav", ".flac", ".ogg"))


def test_same_seed_same_bytes(folder: Path, tmp_path: Path) -> None:
    demo_corpus.run(out=tmp_path / "again", num_tracks=18, seed=3)
    for path in sorted(folder.iterdir()):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_another_seed_is_other_music(folder: Path, tmp_path: Path) -> None:
    demo_corpus.run(out=tmp_path / "other", num_tracks=1, seed=4)
    assert native.hash_file(_audio(tmp_path / "other")[0]) not in [native.hash_file(path) for path in _audio(folder)]


def test_every_file_decodes_as_it_says(folder: Path) -> None:
    rates, channels = set(), set()
    for path in _audio(folder):
        wav_CN, rate_hz = native.decode(path)
        assert 8.0 <= wav_CN.shape[1] / rate_hz <= 16.01
        assert 0.3 < np.abs(wav_CN).max() < 1.0
        rates.add(rate_hz)
        channels.add(wav_CN.shape[0])
    assert rates == {32_000, 44_100, 48_000}
    assert channels == {1, 2}
    assert {path.suffix for path in _audio(folder)} == {".wav", ".flac", ".ogg"}


def test_every_track_has_words_an_artist_and_a_licence(folder: Path) -> None:
    with open(folder / "metadata.csv", newline="") as handle:
        rows = {row["file"]: row for row in csv.DictReader(handle)}
    for path in _audio(folder):
        sidecar, text, row = path.with_suffix(".json"), path.with_suffix(".txt"), rows.get(path.name)
        if sidecar.is_file():
            assert row is None
            info = json.loads(sidecar.read_text())
            assert info["description"]
        else:
            assert row is not None
            assert bool(row["description"]) != text.is_file()
            info = row
        assert info["artist"]
        assert info["license"] == "CC0-1.0"


def test_tempo_is_true(pieces: list[tuple[Piece, np.ndarray]]) -> None:
    for piece, wav_N in pieces:
        if not piece.drums:
            continue
        onsets_T = np.maximum(np.diff(np.log(_envelope(wav_N, hop=160) + 1e-3)), 0.0)  # 10 ms steps
        onsets_T -= onsets_T.mean()
        bar = round(piece.bar_steps * piece.step_sec * 100)
        likeness = {lag: float(onsets_T[lag:] @ onsets_T[:-lag]) for lag in range(bar - 12, bar + 13)}
        assert abs(max(likeness, key=lambda lag: likeness[lag]) - bar) <= 1, piece.style.genre


def test_key_is_true(pieces: list[tuple[Piece, np.ndarray]]) -> None:
    for piece, wav_N in pieces:
        scale = MAJOR if piece.style.mode == "major" else MINOR
        inside = [(KEYS[piece.tonic] + step) % 12 for step in scale]
        chroma = _chroma(wav_N)
        assert chroma[inside].sum() > 0.75, (piece.style.genre, piece.key, chroma.round(2))


def test_instruments_are_true(pieces: list[tuple[Piece, np.ndarray]]) -> None:
    """Every named part is heard: taking it away changes the piece; only pieces with drums have drum-like attacks."""
    for piece, _ in pieces:
        assert ("drums" in piece.instruments) == bool(piece.drums) == bool(piece.style.drums)
        assert {part.role for part in piece.parts} >= {"bass", "chords"}
        assert all(part.notes for part in piece.parts)
    brightness = {True: [], False: []}
    for piece, wav_N in pieces:
        spectrum = np.abs(np.fft.rfft(wav_N)) ** 2
        brightness[bool(piece.drums)].append(spectrum[len(spectrum) * 5 // 8 :].sum() / spectrum.sum())
    assert min(brightness[True]) > 3 * max(brightness[False])


def test_notes_start_on_frames_of_20_ms() -> None:
    for style in STYLES:
        drums = (steps for pattern in style.drums for steps in pattern.values())
        steps = {*style.bass_steps, *style.chord_steps, *style.lead_steps, *drums}
        for step in {step for pattern in steps for step in pattern}:
            frames = step * 60.0 / style.bpm / 4 * 50
            assert frames == pytest.approx(round(frames), abs=1e-9), style.genre


def test_wishes_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_tracks is 0"):
        demo_corpus.run(out=tmp_path / "x", num_tracks=0)
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="holds other files"):
        demo_corpus.run(out=tmp_path)


def _envelope(wav_N: np.ndarray, hop: int) -> np.ndarray:
    return np.abs(wav_N[: len(wav_N) // hop * hop]).reshape(-1, hop).mean(1)


def _chroma(wav_N: np.ndarray) -> np.ndarray:
    """Share of the power between 100 and 1000 Hz that lies in each of the 12 pitch classes."""
    power = np.abs(np.fft.rfft(wav_N * np.hanning(len(wav_N)))) ** 2
    freq_hz = np.fft.rfftfreq(len(wav_N), 1 / RATE_HZ)
    power, freq_hz = power[(freq_hz > 100) & (freq_hz < 1000)], freq_hz[(freq_hz > 100) & (freq_hz < 1000)]
    classes = np.round(69 + 12 * np.log2(freq_hz / 440.0)).astype(int) % 12
    return np.bincount(classes, weights=power, minlength=12) / power.sum()
