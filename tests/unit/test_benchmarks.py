"""Benchmarks say something on a GPU or an idle machine only: here, that they run and check their numbers."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import soundfile

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    module.main()


def test_the_gpu_benchmark_runs_dry_and_writes_its_record(
    load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = load("bench_gpu")
    run(gpu, monkeypatch, "--dry", "--no-compile", "--record", str(tmp_path))
    (path,) = tmp_path.glob("gpu-dry-*.json")
    record = json.loads(path.read_text())
    assert record["gpu"] == "none (dry run)"
    assert record["loss_differences"]["against_transformers"] <= 1e-4
    assert [row["kind"] for row in record["dry"]["rows"]] == ["ours", "transformers"]
    assert set(record["dry"]["time_over_ours"]) == {"ours", "transformers"}
    assert all(row["frames_per_sec"] > 0 and row["mfu"] is None for row in record["dry"]["rows"])
    assert sum(kernel["share"] for kernel in record["dry"]["kernels"]) <= 1.001
    assert any("mm" in kernel["kernel"] for kernel in record["dry"]["kernels"])
    assert "none (dry run)" in capsys.readouterr().out


def test_losses_that_differ_end_the_gpu_benchmark(load, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = load("bench_gpu")
    monkeypatch.setattr(gpu, "losses", lambda *_: {"gpu_against_cpu": 0.5})
    with pytest.raises(SystemExit, match=r"losses differ, gpu_against_cpu: 0\.5 > 0\.001"):
        run(gpu, monkeypatch, "--dry", "--no-compile")


def test_without_a_gpu_it_says_so(load, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = load("bench_gpu")
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="torch sees no GPU; --dry runs the script at a tiny size"):
        run(gpu, monkeypatch)


def test_the_training_benchmark_compares_equal_losses(load, monkeypatch: pytest.MonkeyPatch) -> None:
    train = load("bench_train")
    monkeypatch.setattr(train, "MODEL", train.ModelConfig(size="tiny"))
    row = train.measure(2, 30, 1, train.time.process_time)
    assert row["loss_difference"] < 1e-4
    assert row["ratio"] > 0


def test_the_memory_benchmark_reads_files_under_new_names_and_fits_a_line(load, tmp_path: Path) -> None:
    memory = load("bench_memory")
    wav_N = memory.np.zeros(44_100 * 22)
    soundfile.write(tmp_path / "track.wav", wav_N, 44_100)
    files = memory.NewNames(tmp_path / "new", tmp_path / "track.wav", 2)
    seen = set()
    for _ in range(4):
        files.read()
        names = set((tmp_path / "new").iterdir())
        assert len(names) == 2
        assert len(names - seen) >= 1
        seen |= names
    assert len(seen) == 5
    assert set(memory.memory_mb()) == {"resident", "anonymous"}
    assert memory.slope_of([3.0, 5.0, 7.0]) == pytest.approx(2.0)
    assert memory.slope_of([3.0]) == 0.0


def test_the_segment_benchmark_leaves_out_readers_that_fail(
    load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for peer in ("av", "sphn", "torchcodec.decoders"):
        pytest.importorskip(peer)
    segments = load("bench_segments")
    right = segments.np.zeros((1, segments.SEGMENT_SEC * segments.TARGET_HZ))
    readers = {"ours": lambda *_: right, "short": lambda *_: right[:, :9], "fails": lambda *_: 1 / 0}
    monkeypatch.setattr(segments, "READERS", readers)
    path = tmp_path / "track.wav"
    found = segments.find_readers(path)
    assert list(found) == ["ours"]
    assert "short returns 9 samples" in (shown := capsys.readouterr().out)
    assert "fails does not read track.wav: division by zero" in shown
    read = []
    paths = [tmp_path / f"{n}.wav" for n in range(3)]
    times = segments.median_ms({"ours": lambda path, _: read.append(path)}, paths, segments.np.arange(3.0))
    assert (read, list(times)) == (paths, ["ours"])
