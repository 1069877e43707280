"""The loaders' speed: every figure is there and hangs together; what is missing is said in one line."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from token_corpus import SPEC, write_corpus

from musicgen_core import cli
from musicgen_core.tools import bench_loader

CONFIG = """
corpora: {made: {path: music}}
model: {dim: 32, num_heads: 2, num_layers: 2}
training: {segment_sec: 1.0, batch_size: 4}
runs: {base: {}, wide: {model: {dim: 64}}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench_loader, "read_codec_spec", lambda _: (SPEC, tmp_path))
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "music").mkdir()
    for number in range(6):
        samples = np.random.default_rng(number).normal(0, 0.1, 60_000)
        soundfile.write(tmp_path / f"music/song {number}.wav", samples, 22050)
    write_corpus(tmp_path / "results")
    (tmp_path / "results/tokens").rename(tmp_path / "results/made_up-00000000")
    (tmp_path / "results/tokens").mkdir()
    (tmp_path / "results/made_up-00000000").rename(tmp_path / "results/tokens/made_up-00000000")
    return tmp_path


@pytest.mark.usefixtures("project")
def test_every_figure_is_printed_and_they_fit_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench-loader", "--seconds", "0.3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[0] == "run base: batches of 4 segments of 50 frames x 4 codebooks; 6 tracks, 0.01 h"
    need = re.fullmatch(r"need: a GPU of 989 TFLOP/s at 50% takes ([\d.,]+) batches/s = ([\d,]+) frames/s", lines[1])
    tokens = re.fullmatch(
        r"tokens, no read-ahead: ([\d.,]+) batches/s, ([\d,]+) frames/s, ([\d.,]+) MB/s, ([\d.]+) ms per batch; "
        r"(\d+)% of the need",
        lines[2],
    )
    assert need is not None
    assert tokens is not None
    needed, needed_frames = (float(text.replace(",", "")) for text in need.groups())
    batches, frames, megabytes, milliseconds, share = (float(text.replace(",", "")) for text in tokens.groups())
    assert needed_frames == pytest.approx(200 * needed, rel=0.01)
    assert frames == pytest.approx(200 * batches, rel=0.01)
    assert milliseconds == pytest.approx(1000 / batches, rel=0.02)
    assert share == pytest.approx(100 * batches / needed, abs=1)
    num_steps = 50  # keep_only_valid: the start and as many steps as hold every codebook's codes
    num_bytes = 4 * 4 * (50 + num_steps) * 8 + 4 * 50
    assert megabytes == pytest.approx(batches * num_bytes / 1e6, rel=0.05)
    assert re.fullmatch(r"tokens, read ahead: [\d.]+ ms of waiting per batch, behind steps of [\d.]+ ms", lines[3])
    assert re.fullmatch(
        r"audio, 6 files: [\d.,]+ segments/s of 1 s at 16000 Hz, [\d.,]+ MB/s; \d+% of the need", lines[4]
    )


@pytest.mark.usefixtures("project")
def test_the_need_follows_the_model_and_the_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    def need(*flags: str) -> float:
        assert cli.main(["bench-loader", "--seconds", "0.01", *flags]) == 0
        shown = re.search(r"takes ([\d.,]+) batches/s", capsys.readouterr().out)
        assert shown is not None
        return float(shown[1].replace(",", ""))

    base = need()
    assert need("--gpu-tflops", "1978") == pytest.approx(2 * base, rel=0.01)
    assert need("--mfu", "0.25") == pytest.approx(base / 2, rel=0.01)
    assert need("--run-name", "wide") < base / 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seconds", "0"], "seconds 0 and gpu_tflops 989 must be above 0"),
        (["--mfu", "1.5"], "mfu 1.5 in (0, 1]"),
        (["--run-name", "narrow"], "--run-name narrow: there is no such run; config.yaml has base, wide"),
    ],
)
@pytest.mark.usefixtures("project")
def test_arguments_are_checked(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench-loader", *flags]) == 1
    assert message in capsys.readouterr().err


def test_without_tokens_the_remedy_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = project / "results/tokens/made_up-00000000/made/index.bin"
    index.unlink()
    assert cli.main(["bench-loader"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "made/index.bin: absent, so there are no tokens yet; run `snakemake --profile local tokens` first" in said
