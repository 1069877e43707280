"""What runs after which change. One project lives through all of them, in order; nothing else may run."""

import os
import shutil
from pathlib import Path

import pytest
from small_music import make_codec, make_tone
from small_project import Project, make_project

from musicgen_core.util.atomic import read_jsonl

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, codec: Path) -> Project:
    """Everything up to the token index has run once."""
    project = make_project(tmp_path_factory.mktemp("staleness") / "project", codec)
    project.config["training"]["device"] = "cpu"
    planned = project.dry_run("tokens")
    first = project.run("tokens")
    assert first.jobs == planned.jobs
    assert first.counts == {"resample": 3, "tokenize": 3, "index": 1, "manifest": 1}
    return project


def bucket_of(project: Project, name: str) -> str:
    lines = read_jsonl(project.folder / "results/plan/mine/inventory.jsonl")
    return next(line["bucket"] for line in lines if line["path"] == name)


def train_folders(project: Project) -> set[str]:
    """Where each run's model would go."""
    return {wildcards for rule, wildcards in project.dry_run("train").jobs if rule == "train_run"}


def only(buckets: set[str]) -> dict[str, int]:
    return {"resample": len(buckets), "tokenize": len(buckets), "index": 1, "manifest": 1}


def test_no_change_runs_nothing(built: Project) -> None:
    assert built.run("tokens").jobs == []


def test_touching_everything_runs_nothing(built: Project) -> None:
    for path in [*built.music.iterdir(), *(built.folder / "workflow").rglob("*")]:
        os.utime(path)
    assert built.dry_run("tokens").jobs == []


def test_an_unrelated_key_runs_nothing_and_keeps_the_runs(built: Project) -> None:
    folders = train_folders(built)
    built.config |= {"generation": {"seed": 5}, "evaluation": {"num_segments": 3}}
    assert built.dry_run("tokens").jobs == []
    assert train_folders(built) == folders


def test_a_training_key_moves_only_the_run_that_holds_it(built: Project) -> None:
    before = train_folders(built)
    built.config["runs"]["slow"]["training"]["learning_rate"] = 0.0002
    changed = train_folders(built)
    assert len(before & changed) == 1
    assert {folder.split("-")[0] for folder in before ^ changed} == {"run=slow"}
    built.config["runs"]["slow"]["training"]["learning_rate"] = 0.0001
    assert train_folders(built) == before


def test_a_moved_corpus_runs_nothing(built: Project) -> None:
    folders = train_folders(built)
    shutil.copytree(built.music, built.folder / "elsewhere")
    built.config["corpora"]["mine"]["path"] = "elsewhere"
    assert built.dry_run("tokens").jobs == []
    assert train_folders(built) == folders
    built.config["corpora"]["mine"]["path"] = "music"


def test_a_caption_runs_the_manifest_alone(built: Project) -> None:
    folders = train_folders(built)
    (built.music / "piece 02.txt").write_text("new words")
    assert built.run("tokens").counts == {"manifest": 1}
    assert not train_folders(built) & folders


def test_a_track_added_runs_its_bucket(built: Project) -> None:
    files = [path for path in (built.folder / "results").rglob("*") if path.suffix in (".tar", ".jsonl")]
    files = [path for path in files if "-of-" in path.name]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
    assert len(before) >= 9
    make_tone(built.music / "new.wav", 1000)
    planned = built.dry_run("tokens")
    done = built.run("tokens")
    bucket = bucket_of(built, "new.wav")
    assert done.jobs == planned.jobs
    assert done.counts == only({bucket})
    assert done.buckets("resample") == done.buckets("tokenize") == {bucket}
    others = {path: old for path, old in before.items() if bucket not in path.name}
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in others} == others, "untouched, byte for byte"


def test_content_replaced_under_an_old_time_runs_its_buckets(built: Project) -> None:
    """A track without an artist is its own group by content, so other content may fall into another bucket."""
    path = built.music / "new.wav"
    buckets = {bucket_of(built, "new.wav")}
    old = path.stat()
    make_tone(path, 1100)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    done = built.run("tokens")
    buckets |= {bucket_of(built, "new.wav")}
    assert done.counts == only(buckets)
    assert done.buckets("tokenize") == buckets


def test_a_renamed_track_runs_the_manifest_alone(built: Project) -> None:
    (built.music / "new.wav").rename(built.music / "other name.wav")
    assert built.run("tokens").counts == {"manifest": 1}


def test_a_track_removed_runs_its_bucket(built: Project) -> None:
    bucket = bucket_of(built, "other name.wav")
    (built.music / "other name.wav").unlink()
    done = built.run("tokens")
    assert done.counts == only({bucket})
    assert done.buckets("resample") == {bucket}


def test_a_lost_memory_of_snakemake_hides_no_change(built: Project) -> None:
    shutil.rmtree(built.folder / ".snakemake")
    assert built.dry_run("tokens").jobs == []
    make_tone(built.music / "late.wav", 1200)
    done = built.run("tokens")
    bucket = bucket_of(built, "late.wav")
    assert done.buckets("resample") == done.buckets("tokenize") == {bucket}
    (built.music / "late.wav").unlink()
    assert built.run("tokens").buckets("resample") == {bucket}
    built.run("--touch", "--forceall", "tokens")  # Snakemake notes down what is there


def test_the_tokenize_key_runs_tokens_alone(built: Project) -> None:
    built.config["tokenize"] = {"chunk_sec": 20.0}
    assert built.dry_run("tokens").counts == {"tokenize": 3, "index": 1}
    del built.config["tokenize"]


def test_another_codec_runs_tokens_alone_and_keeps_the_old(built: Project) -> None:
    make_codec(built.folder / "codec2", seed=1)
    built.config["codec"]["path"] = "codec2"
    assert built.dry_run("tokens").counts == {"tokenize": 3, "index": 1}
    shutil.move(built.folder / "codec", built.folder / "codec3")
    built.config["codec"]["path"] = "codec3"
    assert built.dry_run("tokens").jobs == []


def test_while_another_works_the_plan_stays_as_it_is(built: Project) -> None:
    locks: Path = built.folder / ".snakemake/locks"
    locks.mkdir(parents=True, exist_ok=True)
    (locks / "0.input.lock").write_text("x\n")
    before = (built.folder / "results/plan/plan.json").read_bytes()
    make_tone(built.music / "during.wav", 1300)
    outcome = built.dry_run("tokens")
    assert "another snakemake works here" in outcome.text
    assert (built.folder / "results/plan/plan.json").read_bytes() == before
    built.config["data"] = {"min_duration_sec": 0.5}
    outcome = built.snakemake("--profile", "local", "tokens", "--dry-run")
    assert outcome.error_line.startswith("Error: corpora or data in the config are not those of that plan, and ")
    assert "--unlock" in outcome.error_line
    (locks / "0.input.lock").unlink()
