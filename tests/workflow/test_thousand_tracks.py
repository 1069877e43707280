"""What runs after which change: the rows of docs/staleness.md, as exact lists of jobs, on 1,000 tracks."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_music import make_codec
from small_project import ROOT
from thousand_tracks import (
    BELOW_TRAINING,
    Jobs,
    Thousand,
    below_training,
    bucket_jobs,
    make_clip,
    make_thousand,
)

from musicgen_core.stages import STAGES

pytestmark = pytest.mark.slow

CORPUS_JOBS: Jobs = [("index", "corpus=mine"), ("manifest", "corpus=mine")]


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory, codec: Path) -> Thousand:
    project = make_thousand(tmp_path_factory.mktemp("thousand") / "project", codec)
    jobs = project.finish()
    everything = project.all_buckets()
    assert len(everything) == 64
    expected = bucket_jobs("resample", everything) + bucket_jobs("tokenize", everything) + CORPUS_JOBS
    assert jobs == sorted(expected + below_training(project.run_folders()))
    return project


def of_buckets(project: Thousand, buckets: set[str]) -> Jobs:
    """A change of the music: its buckets, then index and manifest, then every run, in a folder of its own."""
    jobs = bucket_jobs("resample", buckets) + bucket_jobs("tokenize", buckets) + CORPUS_JOBS
    return sorted(jobs + below_training(project.run_folders()))


def test_nothing_changed(thousand: Thousand) -> None:
    assert thousand.dry_run().jobs == []


def test_every_file_touched(thousand: Thousand) -> None:
    for path in [*thousand.music.iterdir(), *(thousand.folder / "workflow").rglob("*")]:
        os.utime(path)
    assert thousand.dry_run().jobs == []


def test_the_corpus_copied_elsewhere(thousand: Thousand) -> None:
    shutil.copytree(thousand.music, thousand.folder / "elsewhere", copy_function=shutil.copyfile)
    with thousand.changed():
        thousand.config["corpora"]["mine"]["path"] = "elsewhere"
        assert thousand.dry_run().jobs == []


def test_the_repository_cloned_anew(thousand: Thousand, tmp_path: Path, codec: Path) -> None:
    """The results move to a fresh checkout, and what Snakemake remembers in .snakemake stays behind."""
    clone = make_thousand(tmp_path / "clone", codec)
    shutil.rmtree(clone.music)
    shutil.copytree(thousand.music, clone.music)
    shutil.copytree(thousand.folder / "results", clone.folder / "results")
    assert clone.dry_run().jobs == []
    clone.config["tokenize"] = {"chunk_sec": 20.0}
    counts = clone.dry_run().counts
    assert (counts["tokenize"], counts["index"], "resample" in counts) == (64, 1, False)


def test_a_track_added(thousand: Thousand) -> None:
    path = make_clip(thousand.music / "new.wav", np.random.default_rng(1))
    done = thousand.dry_run()
    assert done.jobs == of_buckets(thousand, {thousand.bucket_of("new.wav")})
    path.unlink()


def test_a_track_removed(thousand: Thousand) -> None:
    bucket = thousand.bucket_of("0007.wav")
    aside = (thousand.music / "0007.wav").rename(thousand.folder / "aside.wav")
    with thousand.changed():
        assert thousand.dry_run().jobs == of_buckets(thousand, {bucket})
    aside.rename(thousand.music / "0007.wav")


def test_a_track_changed(thousand: Thousand) -> None:
    """Its artist, and with it its bucket, stays."""
    path = thousand.music / "0008.wav"
    before = path.read_bytes()
    make_clip(path, np.random.default_rng(2))
    assert thousand.dry_run().jobs == of_buckets(thousand, {thousand.bucket_of("0008.wav")})
    path.write_bytes(before)


def test_a_track_replaced_under_its_old_time(thousand: Thousand) -> None:
    path = thousand.music / "0009.wav"
    before, stat = path.read_bytes(), path.stat()
    make_clip(path, np.random.default_rng(3))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert thousand.dry_run().jobs == of_buckets(thousand, {thousand.bucket_of("0009.wav")})
    path.write_bytes(before)


def test_a_track_renamed(thousand: Thousand) -> None:
    """With its row in the table: its bytes and its words are the same, its name stands in the manifest."""
    (thousand.music / "0010.wav").rename(thousand.music / "renamed.wav")
    with thousand.changed():
        rows = [("renamed.wav", *row[1:]) if row[0] == "0010.wav" else row for row in thousand.read_captions()]
        thousand.write_captions(rows)
        done = thousand.dry_run()
        assert done.jobs == sorted([("manifest", "corpus=mine"), *below_training(thousand.run_folders())])
    (thousand.music / "renamed.wav").rename(thousand.music / "0010.wav")


@pytest.mark.parametrize(("column", "words"), [(1, "other words"), (3, "CC-BY-4.0")], ids=["caption", "licence"])
def test_words_edited(thousand: Thousand, column: int, words: str) -> None:
    with thousand.changed():
        rows = [list(row) for row in thousand.read_captions()]
        rows[12][column] = words
        thousand.write_captions([tuple(row) for row in rows])
        done = thousand.dry_run()
        assert done.jobs == sorted([("manifest", "corpus=mine"), *below_training(thousand.run_folders())])


def test_an_artist_edited(thousand: Thousand) -> None:
    """The artist is the group, so the track moves to another bucket: both buckets run, and no third."""
    with thousand.changed():
        old = thousand.bucket_of("0013.wav")
        rows = [list(row) for row in thousand.read_captions()]
        rows[14][2] = "somebody else"
        thousand.write_captions([tuple(row) for row in rows])
        done = thousand.dry_run()
        new = thousand.bucket_of("0013.wav")
        assert new != old
        assert done.jobs == of_buckets(thousand, {old, new})


def test_a_new_corpus(thousand: Thousand) -> None:
    rng = np.random.default_rng(4)
    for number in range(9):
        make_clip(thousand.folder / f"other/{number}.wav", rng).with_suffix(".txt").write_text(f"noise {number}")
    with thousand.changed():
        thousand.config["corpora"]["other"] = {"path": "other", "num_buckets": 2}
        thousand.config["runs"]["both"] = {}
        done = thousand.dry_run()
        (folder,) = [name for name in thousand.run_folders() if name.startswith("both-")]
        buckets = thousand.all_buckets("other")
        expected = bucket_jobs("resample", buckets, "other") + bucket_jobs("tokenize", buckets, "other")
        expected += [("index", "corpus=other"), ("manifest", "corpus=other"), *below_training([folder])]
        assert done.jobs == sorted(expected)


def jobs_of(project: Thousand, rules: tuple[str, ...]) -> Jobs:
    """Every job of these rules."""
    jobs = [job for job in CORPUS_JOBS + below_training(project.run_folders()) if job[0] in rules]
    for rule in {"resample", "tokenize"} & {*rules}:
        jobs += bucket_jobs(rule, project.all_buckets())
    return sorted(jobs)


ALL = ("resample", "tokenize", "index", "manifest", *BELOW_TRAINING)
MANIFEST = ("manifest", *BELOW_TRAINING)
MINE = {"path": "music", "captions": ["captions.csv", "txt"], "num_buckets": 64}
KEYS = [
    ("corpora", {"mine": MINE | {"num_buckets": 32}}, ALL),
    ("corpora", {"mine": MINE | {"group_by": "track"}}, ALL),
    ("corpora", {"mine": MINE | {"license": "CC-BY-4.0"}}, MANIFEST),
    ("corpora", {"mine": MINE | {"licenses": ["CC0-1.0"]}}, MANIFEST),
    ("corpora", {"mine": MINE | {"weight": 2.0}}, MANIFEST),
    ("corpora", {"mine": MINE | {"captions": ["txt", "captions.csv"]}}, ()),
    ("conditioner", {"kind": "lut", "num_bins": 300}, BELOW_TRAINING),
    ("data", {"min_duration_sec": 0.1, "max_duration_sec": 9.0}, ALL),
    ("data", {"min_duration_sec": 0.1, "valid_fraction": 0.2}, MANIFEST),
    ("data", {"min_duration_sec": 0.1, "evaluate_fraction": 0.2}, MANIFEST),
    ("data", {"min_duration_sec": 0.1, "allow_uncaptioned": True}, MANIFEST),
    ("audio", {"loudness_lufs": -14.0}, ALL),
    ("data", {"min_duration_sec": 0.1, "silence_dbfs": -50.0}, ALL),
    ("data", {"min_duration_sec": 0.1, "split_salt": "1"}, ("manifest", *BELOW_TRAINING)),
    ("data", {"min_duration_sec": 0.1, "num_prompts": 5}, ("generate", "evaluate", "report_run")),
    ("tokenize", {"chunk_sec": 20.0}, ("tokenize", "index", *BELOW_TRAINING)),
    ("model", {"dropout": 0.1}, BELOW_TRAINING),
    ("seed", 7, BELOW_TRAINING),
    ("generation", {"top_k": 3}, ("generate", "evaluate", "report_run")),
    ("evaluation", {"num_segments": 3}, ("evaluate", "report_run")),
    ("on_changed_data", "continue", ()),
    ("upkeep", {"keep_every_steps": 5, "stall_limit_sec": 60.0, "sinks": []}, ()),
]


def name_key(section: str, value: object) -> str:
    if section == "corpora" and isinstance(value, dict):
        return "+".join(["corpora", *(key for key, one in value["mine"].items() if MINE.get(key) != one)])
    return f"{section}.{list(value)[-1]}" if isinstance(value, dict) else section


@pytest.mark.parametrize(("section", "value", "rules"), KEYS, ids=[name_key(s, v) for s, v, _ in KEYS])
def test_a_config_key(thousand: Thousand, section: str, value: object, rules: tuple[str, ...]) -> None:
    with thousand.changed():
        thousand.config[section] = value
        assert thousand.dry_run().jobs == jobs_of(thousand, rules)


def test_a_comment_and_white_space_in_a_rule(thousand: Thousand) -> None:
    kept = {path: path.read_text() for path in (thousand.folder / "workflow/rules").glob("*.smk")}
    for path, text in kept.items():
        path.write_text(
            "# a comment\n" + text.replace('"musicgen ', '"musicgen   ').replace("\nrule ", "\n\n# x\nrule ")
        )
    assert thousand.dry_run().jobs == []
    for path, text in kept.items():
        path.write_text(text)


VERSIONS = {
    "resample": ALL,
    "manifest": MANIFEST,
    "tokenize": ("tokenize", "index", *BELOW_TRAINING),
    "index": ("index", *BELOW_TRAINING),
    "train": BELOW_TRAINING,
    "export": ("export", "generate", "evaluate", "report_run"),
    "generate": ("generate", "evaluate", "report_run"),
    "evaluate": ("evaluate", "report_run"),
    "report": ("report_run",),
}


@pytest.mark.parametrize("stage", VERSIONS)
def test_a_stage_version_bumped(thousand: Thousand, tmp_path: Path, stage: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from musicgen_core.stages import STAGES\n"
        f"STAGES[{stage!r}] = STAGES[{stage!r}]._replace(version=STAGES[{stage!r}].version + 1)\n"
    )
    done = thousand.snakemake("--profile", "local", "--dry-run", env={"PYTHONPATH": str(tmp_path)})
    assert done.jobs == jobs_of(thousand, VERSIONS[stage])


def test_every_stage_with_a_rule_has_its_version_bumped() -> None:
    assert {*VERSIONS, "scan"} == set(STAGES)


def test_other_codec_weights(thousand: Thousand) -> None:
    make_codec(thousand.folder / "codec2", seed=1)
    with thousand.changed():
        thousand.config["codec"]["path"] = "codec2"
        jobs = thousand.dry_run().jobs
        expected = [*bucket_jobs("tokenize", thousand.all_buckets()), ("index", "corpus=mine")]
        assert jobs == sorted(expected + below_training(thousand.run_folders()))


def test_train_settings_of_one_run(thousand: Thousand) -> None:
    with thousand.changed():
        thousand.config["runs"]["slow"]["training"]["learning_rate"] = 0.0002
        jobs = thousand.dry_run().jobs
        (folder,) = [name for name in thousand.run_folders() if name.startswith("slow-")]
        assert jobs == sorted(below_training([folder]))


def test_a_run_renamed(thousand: Thousand) -> None:
    thousand.dry_run()
    before = thousand.run_folders()
    with thousand.changed():
        thousand.config["runs"]["careful"] = thousand.config["runs"].pop("slow")
        done = thousand.dry_run()
        assert done.jobs == []
        assert sorted(thousand.run_folders()) == sorted(before)
        assert "runs.careful is what was trained as slow-" in done.text


def test_every_row_of_the_table_has_its_test() -> None:
    rows = re.findall(r"`(test_\w+)`", (ROOT / "docs/staleness.md").read_text())
    here = set(re.findall(r"^def (test_\w+)", Path(__file__).read_text(), re.MULTILINE))
    policies = set(re.findall(r"^def (test_\w+)", (ROOT / "tests/workflow/test_changed_data.py").read_text(), re.M))
    files = (
        "workflow/test_verbs.py",
        "workflow/test_staleness.py",
        "workflow/test_large_files.py",
        "unit/flow/test_ancestors.py",
    )
    elsewhere = {
        name for file in files for name in re.findall(r"^def (test_\w+)", (ROOT / "tests" / file).read_text(), re.M)
    }
    about = {"test_every_row_of_the_table_has_its_test", "test_every_stage_with_a_rule_has_its_version_bumped"}
    assert set(rows) - elsewhere == (here | policies) - about
