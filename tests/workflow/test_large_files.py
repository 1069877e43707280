"""Files above 1 MB (Snakemake's max-checksum-file-size), written again with what they held: nothing runs because of it.

So do files outside the results, whose bytes count and not their place or time.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from small_music import RATE_HZ
from thousand_tracks import BELOW_TRAINING, Thousand, below_training, make_thousand

pytestmark = pytest.mark.slow

LARGE = 1_000_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, codec: Path) -> Thousand:
    """Words, a prompt's recording, and every file of data or of a model that its rules wrote are above 1 MB."""
    project = make_thousand(tmp_path_factory.mktemp("large") / "project", codec)
    project.config["runs"] = {"base": {"corpora": ["mine"]}}
    head, *rows = project.read_captions()
    project.write_captions([head, *[(row[0], f"{row[1]} words " * 100, *row[2:]) for row in rows]])
    project.config["generation"] = {"prompts": ["a tone", {"text": "a tone", "style": "hum.wav"}]}
    project.config["conditioner"] = {"kind": "t5", "path": "t5"}
    hum(project.folder / "hum.wav", 1)
    (project.folder / "t5").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (project.folder / "t5" / name).write_text("{}")
    project.finish()
    for path in data_files(project):
        path.write_bytes(b"\0" * (LARGE + 1))
    project.run("--touch", "--forceall")
    assert (project.folder / "results/plan/mine/metadata.jsonl").stat().st_size > LARGE
    assert (project.folder / "hum.wav").stat().st_size > LARGE
    assert project.dry_run().jobs == []
    return project


def hum(path: Path, seed: int) -> None:
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, 600_000).astype("float32"), RATE_HZ)


def data_files(project: Thousand) -> list[Path]:
    results = project.folder / "results"
    return [
        *results.glob("manifest/*/*"),
        *results.glob("tokens/*/*/index.bin"),
        *results.glob("tokens/*/*/00000*.tar"),
    ]


def test_words_edited_looked_at_and_edited_back(large: Thousand) -> None:
    with large.changed():
        rows = large.read_captions()
        large.write_captions([*rows[:-1], (rows[-1][0], "other words", *rows[-1][2:])])
        assert large.dry_run().counts["manifest"] == 1
    assert large.dry_run().jobs == []


def test_another_config_was_looked_at(large: Thousand) -> None:
    with large.changed():
        large.config["data"]["split_salt"] = "1"
        assert large.dry_run().counts["manifest"] == 1
    assert large.dry_run().jobs == []


def test_data_written_again_train_nothing(large: Thousand) -> None:
    """As an index or a manifest that was made again, with the same result."""
    for path in data_files(large):
        os.utime(path)
    assert large.dry_run().jobs == []
    index = next(large.folder.glob("results/tokens/*/mine/index.bin"))
    forced = large.dry_run("--forcerun", str(index.relative_to(large.folder)))
    assert forced.jobs == [("index", "corpus=mine")]


def test_a_run_behind_data_that_is_made_is_not_left_out(large: Thousand) -> None:
    """Snakemake by itself forgets a new run when all that lies between it and a job is ancient."""
    with large.changed():
        large.config["training"]["learning_rate"] = 0.5
        index = next(large.folder.glob("results/tokens/*/mine/index.bin"))
        done = large.dry_run("--forcerun", str(index.relative_to(large.folder)))
        assert done.jobs == sorted([("index", "corpus=mine"), *below_training(large.run_folders())])


def test_a_recording_of_a_prompt_counts_by_content(large: Thousand) -> None:
    path = large.folder / "hum.wav"
    os.utime(path)
    assert large.dry_run().jobs == []
    before, stat = path.read_bytes(), path.stat()
    hum(path, 2)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert set(large.dry_run().counts) == {"generate", "evaluate", "report_run"}
    path.write_bytes(before)
    assert large.dry_run().jobs == []


def test_a_frozen_model_counts_by_content(large: Thousand) -> None:
    folder = large.folder / "t5"
    shutil.copytree(folder, large.folder / "moved")
    with large.changed():
        large.config["conditioner"]["path"] = "moved"
        assert large.dry_run().jobs == []
    (folder / "README.md").write_text("a word")
    assert large.dry_run().jobs == []
    weights = folder / "model.safetensors"
    stat = weights.stat()
    weights.write_text("[]")
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    done = large.dry_run()
    assert done.jobs == sorted(below_training(large.run_folders()))
    assert "changed since" not in done.text, "its music did not"
    weights.write_text("{}")
    assert large.dry_run().jobs == []


def test_a_report_follows_what_it_shows(large: Thousand) -> None:
    (large.music / "session.als").write_text("no music")
    assert large.dry_run().jobs == []
    (large.music / "broken.wav").write_bytes(b"RIFF")
    assert set(large.dry_run().counts) <= {"report_run"}
    assert large.dry_run().counts == {"report_run": 1}
    (large.music / "broken.wav").unlink()
    (large.music / "session.als").unlink()
    assert large.dry_run().jobs == []
    assert set(BELOW_TRAINING) > {"report_run"}
