"""What `musicgen plan` says of bytes, time and work, against figures made by hand."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from musicgen_core.config.data import CodecSpec
from musicgen_core.config.load import parse_config, resolve_runs
from musicgen_core.config.root import RunConfig
from musicgen_core.flow.forecast import count_flops, estimate_bytes, measure_rate, measure_training
from musicgen_core.flow.memory import count_parameters
from musicgen_core.util.receipt import write_receipt


def make_run(**training: object) -> RunConfig:
    raw = {"corpora": {"mine": {"path": "music"}}, "training": training, "runs": {"base": {}}}
    return resolve_runs(parse_config(raw))["base"]


def test_bytes_of_audio_and_of_codes(codec_spec: CodecSpec) -> None:
    """An hour at 16 kHz in 24 bits, of which FLAC leaves 0.6; 50 frames a second of 4 codes of 2 bytes."""
    assert estimate_bytes("resample", 3600.0, codec_spec) == 103_680_000
    assert estimate_bytes("resample", 3600.0, replace(codec_spec, num_channels=2)) == 207_360_000
    assert estimate_bytes("tokenize", 3600.0, codec_spec) == 1_440_000
    assert estimate_bytes("train", 3600.0, codec_spec) == 0


def test_the_rate_is_that_of_earlier_jobs_of_the_stage(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.tar" for number in range(4)]
    jobs = [("tokenize", 2.0), ("tokenize", 8.0), ("resample", 1.0), ("tokenize", 5.0)]
    for path, (stage, took) in zip(paths, jobs, strict=True):
        path.write_bytes(b"")
        write_receipt(path, stage, 1, {}, {}, took)
    lengths = {paths[0]: 100.0, paths[1]: 300.0, paths[2]: 999.0}  # of the fourth it is not known
    assert measure_rate("tokenize", paths, lengths) == 40.0
    assert measure_rate("resample", paths, lengths) == 999.0
    assert measure_rate("index", paths, lengths) is None
    assert measure_rate("tokenize", [tmp_path / "absent.tar"], {tmp_path / "absent.tar": 1.0}) is None


def leave_training(folder: Path, lines: list[dict[str, object]], time_ns: int, **changes: object) -> None:
    folder.mkdir(parents=True)
    training = {"batch_size": 4, "segment_sec": 2.0, "precision": "fp32", **changes}
    (folder / "config.json").write_text(json.dumps({"model": {"size": "tiny"}, "training": training}))
    (folder / "history.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    os.utime(folder / "config.json", ns=(time_ns, time_ns))


def test_a_step_takes_what_it_took_in_the_newest_training_like_it(tmp_path: Path) -> None:
    run = make_run(batch_size=4, segment_sec=2.0, precision="fp32")
    run = replace(run, model=replace(run.model, size="tiny"))
    assert measure_training(tmp_path, run) is None
    step = {"kind": "train", "step": 10, "time_sec": 5.0}
    leave_training(tmp_path / "old-1", [{"kind": "train", "step": 1, "time_sec": 9.0}, step, {"kind": "valid"}], 1)
    assert measure_training(tmp_path, run) == (0.5, "old-1")
    leave_training(tmp_path / "new-2", [{**step, "time_sec": 20.0}], 2)
    assert measure_training(tmp_path, run) == (2.0, "new-2")
    leave_training(tmp_path / "other-3", [step], 3, batch_size=8)
    leave_training(tmp_path / "begun-4", [], 4)
    leave_training(tmp_path / "torn-5", [step], 5)
    (tmp_path / "torn-5/config.json").write_text("{")
    assert measure_training(tmp_path, run) == (2.0, "new-2")


def test_work_is_six_times_parameters_times_steps_of_the_sequence(codec_spec: CodecSpec) -> None:
    run = make_run(batch_size=4, segment_sec=2.0, steps=10)
    sequence = 2 * 50 + 4  # frames, and the delay of the codebooks
    expected = 6.0 * count_parameters(run, codec_spec) * 10 * 4 * sequence
    assert count_flops(run, codec_spec) == pytest.approx(expected, rel=1e-12)
    longer = replace(run, training=replace(run.training, steps=30))
    assert count_flops(longer, codec_spec) == pytest.approx(3 * expected, rel=1e-12)
