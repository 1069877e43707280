"""why, plan, verify and gc on a project whose data stages have really run."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import yaml
from small_music import RATE_HZ, make_codec, make_tone
from small_project import Project, make_project

from musicgen_core.stages import STAGES
from musicgen_core.util.process import describe_process
from musicgen_core.util.receipt import receipt_path, write_receipt

pytestmark = pytest.mark.slow

HOST = describe_process()["host"]


class Tools(Project):
    def musicgen(self, *arguments: str, status: int = 0) -> list[str]:
        """Lines of standard output, then those of standard error."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config))
        done = subprocess.run(
            [sys.executable, "-m", "musicgen_core.cli", *arguments], cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == status, done.stdout + done.stderr
        return (done.stdout + done.stderr).splitlines()


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory, codec: Path) -> Tools:
    small = make_project(tmp_path_factory.mktemp("tools") / "project", codec)
    project = Tools(small.folder, small.config)
    project.config["runs"] = {"base": {}}
    project.run("tokens")
    return project


def starting(lines: list[str], word: str) -> list[str]:
    return [line for line in lines if line.startswith(word)]


def test_why_nothing(tools: Tools) -> None:
    assert "nothing would run: everything is up to date" in tools.musicgen("why", "tokens")


def test_why_names_the_key_and_what_follows(tools: Tools) -> None:
    tools.config["tokenize"] = {"chunk_sec": 20.0}
    lines = tools.musicgen("why", "tokens")
    assert len(starting(lines, "tokenize mine ")) == 3
    assert all(line.endswith(": tokenize.chunk_sec 30.0 -> 20.0") for line in starting(lines, "tokenize"))
    assert re.match(r"index mine: after tokenize mine \d{5}-of-00003, ", starting(lines, "index")[0])
    assert "4 jobs" in lines
    del tools.config["tokenize"]


def test_why_names_the_track(tools: Tools) -> None:
    make_tone(tools.music / "new.wav", 1000)
    lines = tools.musicgen("why", "tokens")
    assert [line.split(": ")[1] for line in starting(lines, "resample")] == ["+ new.wav"]
    assert re.search(r": after resample mine \d{5}-of-00003$", starting(lines, "tokenize")[0])
    (tools.music / "new.wav").unlink()


def test_why_names_the_words(tools: Tools) -> None:
    (tools.music / "piece 03.txt").write_text("other words")
    (line,) = starting(tools.musicgen("why", "tokens"), "manifest")
    assert 'piece 03.wav: caption "a tone, number 3" -> "other words"' in line
    (tools.music / "piece 03.txt").write_text("a tone, number 3\n")


def test_why_names_what_came_into_the_place_of_an_older_path(tools: Tools) -> None:
    """The codec's digest and the number of buckets stand in the paths; that these were never made is no cause."""
    make_codec(tools.folder / "codec2", seed=1)
    digest = json.loads((tools.folder / "results/plan/codec.json").read_text())["digest"]
    tools.config["codec"]["path"] = "codec2"
    lines = tools.musicgen("why", "tokens")
    assert len(starting(lines, "tokenize mine ")) == 3
    assert all(f': codec.digest "{digest}" -> "' in line for line in starting(lines, "tokenize"))
    assert f'index mine: codec_digest "{digest}" -> "' in starting(lines, "index")[0]
    tools.config["codec"]["path"] = "codec"
    tools.config["corpora"]["mine"]["num_buckets"] = 2
    lines = tools.musicgen("why", "tokens")
    data = starting(lines, "resample") + starting(lines, "tokenize")
    assert len(data) == 4
    assert all(line.endswith(": corpora.mine.num_buckets 3 -> 2") for line in data)
    tools.config["corpora"]["mine"]["num_buckets"] = 3
    assert "nothing would run: everything is up to date" in tools.musicgen("why", "tokens")


def leave_run(tools: Tools) -> Path:
    """What a finished run leaves that says what it was, with receipts of the stages behind it."""
    tools.musicgen("why")
    (planned,) = json.loads((tools.folder / "results/plan/runs.json").read_text()).values()
    run_dir = tools.folder / "results/runs" / planned["folder"]
    stages = tools.folder / "results/plan/stages"
    train = json.loads((stages / f"train/{planned['folder']}.json").read_text())
    for name in ("export", "samples", "references"):
        (run_dir / name).mkdir(parents=True)
    (run_dir / "config.json").write_text(json.dumps({**train["config"], "stage_version": train["version"]}))
    outputs = {
        "export": ("export/config.json", "export/model.safetensors"),
        "generate": ("samples/samples.json",),
        "evaluate": ("metrics.json", "references/references.json"),
        "report": ("report.html",),
    }
    for stage, names in outputs.items():
        own = stages / stage / f"{planned['folder']}.json"
        facts = json.loads((own if own.exists() else stages / f"{stage}.json").read_text())
        for name in names:
            (run_dir / name).write_text("{}")
            sealed = run_dir / name if name.count("/") == 0 else run_dir / name.split("/")[0]
            write_receipt(sealed, stage, facts["version"], facts["config"], {}, 1.0)
    return run_dir


BELOW = ("train", "export", "generate", "evaluate", "report")


def test_why_a_run_in_a_new_folder(tools: Tools) -> None:
    """Each of its jobs says what is new: music, words, keys, old -> new."""
    run_dir = leave_run(tools)
    tools.config["training"]["learning_rate"] = 0.5
    tools.config["generation"] = {"top_k": 3}
    lines = tools.musicgen("why")
    for stage in BELOW:
        (line,) = starting(lines, f"{stage} ")
        assert f": unlike {run_dir.name}: training.learning_rate " in line
        assert line.split(" -> ")[1].startswith("0.5")
        assert ("generation.top_k 250 -> 3" in line) == (stage == "generate")
    del tools.config["training"]["learning_rate"], tools.config["generation"]
    make_tone(tools.music / "new.wav", 1000)
    (tools.music / "piece 03.txt").write_text("other words")
    lines = tools.musicgen("why")
    for stage in BELOW:
        (line,) = starting(lines, f"{stage} ")
        assert re.search(r"tracks in \d of 3 buckets of mine, words, licences, splits or names of tracks of mine", line)
    (tools.music / "new.wav").unlink()
    (tools.music / "piece 03.txt").write_text("a tone, number 3\n")
    shutil.rmtree(run_dir)


def test_why_names_the_version(tools: Tools, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from musicgen_core.stages import STAGES\nSTAGES['index'] = STAGES['index']._replace(version=7)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert starting(tools.musicgen("why", "tokens"), "index") == [
        f"index mine: version of index {STAGES['index'].version} -> 7"
    ]


def test_why_a_training(tools: Tools) -> None:
    assert re.match(r"train base-\w{8}: .*DONE was never made", starting(tools.musicgen("why", "train"), "train")[0])
    run_dir = tools.folder / "results/runs" / "base-00000000"
    run_dir.mkdir(parents=True)
    (planned,) = json.loads((tools.folder / "results/plan/runs.json").read_text()).values()
    stage = json.loads((tools.folder / f"results/plan/stages/train/{planned['folder']}.json").read_text())
    stage["config"]["training"]["steps"] = 3
    (run_dir / "config.json").write_text(json.dumps({**stage["config"], "stage_version": stage["version"]}))
    (line,) = starting(tools.musicgen("why", "train"), "train")
    assert line.endswith(": unlike base-00000000: training.steps 3 -> 4")
    shutil.rmtree(run_dir)


def test_why_an_unknown_target_is_one_line(tools: Tools) -> None:
    lines = tools.musicgen("why", "tokns", status=1)
    assert lines[-1].startswith("musicgen why: error: ")
    assert "tokns" in lines[-1]


def test_plan_says_what_it_costs(tools: Tools) -> None:
    tools.config["audio"] = {"loudness_lufs": -14.0}
    for number in range(2):
        make_tone(tools.music / f"long {number}.wav", 500 + number, duration_sec=200.0)
    seconds = sum(soundfile.info(path).duration for path in tools.music.glob("*.wav"))
    lines = tools.musicgen("plan")
    hours, audio_gb = f"{seconds / 3600:.2f}", f"{seconds * RATE_HZ * 3 * 0.6 / 1e9:.3f}"
    assert (hours, audio_gb) >= ("0.11", "0.006"), "figures that show"
    figures = [re.split(r"  +", line) for line in (*starting(lines, "resample"), *starting(lines, "tokenize"))]
    assert figures[0][:4] == ["resample", "3", hours, audio_gb]
    assert figures[1][:3] == ["tokenize", "3", hours]
    codec = json.loads((tools.folder / "results/plan/codec.json").read_text())
    code_bytes = seconds * codec["sample_rate_hz"] / codec["hop_samples"] * codec["num_codebooks"] * 2
    assert figures[1][3] == f"{code_bytes / 1e9:.3f}"
    for figure in figures:
        found = re.fullmatch(r"(\d+) (s|min) \(earlier jobs: (\d+) times real time\)", figure[4])
        assert found, figure
        took_sec = seconds / int(found[3])
        assert int(found[1]) == pytest.approx(took_sec / (60 if found[2] == "min" else 1), rel=0.2, abs=1)
    assert starting(lines, "run base (base-")[0].endswith("4 steps of 16 x 1 s, fp32")
    assert any("memory of each of 1 process(es), estimated: " in line for line in lines)
    assert "13 jobs" in lines
    del tools.config["audio"]
    for path in tools.music.glob("long *.wav"):
        path.unlink()


def test_verify_finds_nothing_in_sound_results(tools: Tools) -> None:
    lines = tools.musicgen("verify")
    # 3 buckets of tar, jsonl and tokens, 5 manifests, 3 tables of tracks, an index
    assert re.fullmatch(r"verify: 18 files, 0\.\d+ GB; 0 fault\(s\)", lines[-1])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    """Another bit, under the same size and time."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    ("pattern", "damage", "message"),
    [
        ("audio/mine/*.tar", cut, r"has \d+ bytes, but \d+ were written: it was cut short or altered"),
        ("audio/mine/*.jsonl", Path.unlink, "is gone"),
        ("tokens/*/mine/0*.tar", flip, r"its \d+ bytes are not those that were written: it was altered"),
        ("manifest/mine/train.jsonl", flip, "it was altered"),
        ("manifest/mine/train.tracks", flip, "it was altered"),
        ("tokens/*/mine/index.bin", flip, "it was altered"),
        ("tokens/*/mine/.index.bin.made.json", cut, r"its receipt \.index\.bin\.made\.json is damaged"),
    ],
)
def test_verify_names_damage_and_what_to_run(
    tools: Tools, tmp_path: Path, pattern: str, damage: Callable[[Path], None], message: str
) -> None:
    path = sorted((tools.folder / "results").glob(pattern))[0]
    shutil.copy2(path, tmp_path / "kept")
    damage(path)
    lines = tools.musicgen("verify", status=1)
    (line,) = starting(lines, "results/")
    assert re.search(f": .*{message}; run: rm -rf results/", line)
    assert lines[-1].endswith("1 fault(s)")
    shutil.copy2(tmp_path / "kept", path)


def test_altered_words_of_the_plan_are_written_anew(tools: Tools) -> None:
    """Their ctime tells, whatever their time stamp says."""
    path = tools.folder / "results/plan/mine/metadata.jsonl"
    text = path.read_text()
    flip(path)
    assert tools.musicgen("verify")[-1].endswith("0 fault(s)")
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("pattern", "maker"),
    [("audio/mine/0*.tar", "tokens/"), ("tokens/*/mine/0*.tar", "index.bin"), ("audio/mine/0*.jsonl", "manifest/mine")],
)
def test_an_output_that_is_lost_with_its_receipt_is_a_fault(
    tools: Tools, tmp_path: Path, pattern: str, maker: str
) -> None:
    path = sorted((tools.folder / "results").glob(pattern))[0]
    for lost in (path, receipt_path(path)):
        shutil.move(lost, tmp_path)
    (line,) = starting(tools.musicgen("verify", status=1), "results/")
    assert re.match(
        rf"{path.relative_to(tools.folder)}: is gone with its receipt, though results/\S*{maker}\S* was", line
    )
    for lost in (path, receipt_path(path)):
        shutil.move(tmp_path / lost.name, lost)


@pytest.mark.parametrize("pattern", ["buckets/0*.txt", "locations/0*.json"])
def test_verify_names_an_altered_plan(tools: Tools, pattern: str) -> None:
    path = sorted((tools.folder / "results/plan/mine").glob(pattern))[0]
    stat, text = path.stat(), path.read_text()
    key = re.search(r"[0-9a-f]{32}", text)
    assert key
    path.write_text(text.replace(key[0], "0" * 32))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    lines = starting(tools.musicgen("verify", status=1), "results/plan/")
    assert lines, "nothing was said"
    remedies = {line.split("; run: ")[1].split(" && ")[0] for line in lines}
    for remedy in remedies:
        assert subprocess.run(remedy, shell=True, cwd=tools.folder).returncode == 0
    tools.dry_run("tokens")
    assert path.read_text() == text
    assert tools.musicgen("verify")[-1].endswith("0 fault(s)")
    assert tools.run("tokens").jobs == [], "it was made anew with the same content"


def test_a_stage_refuses_a_shard_that_was_altered(tools: Tools, tmp_path: Path) -> None:
    """Snakemake sees a newer file and would take it for a new result."""
    path = sorted((tools.folder / "results/audio/mine").glob("*.tar"))[0]
    shutil.copy2(path, tmp_path / "kept")
    cut(path)
    outcome = tools.snakemake("--profile", "local", "tokens")
    assert outcome.returncode == 1
    (line,) = starting(outcome.text.splitlines(), "failed: ")
    assert re.search(r"audio/mine/.*\.tar: has \d+ bytes, but \d+ were written.*delete it and start snakemake", line)
    shutil.copy2(tmp_path / "kept", path)
    tools.run("tokens")


def test_gc_lists_and_removes_what_no_config_refers_to(tools: Tools) -> None:
    results = tools.folder / "results"
    make_codec(tools.folder / "codec2", seed=1)
    shutil.copytree(next(results.glob("tokens/*")), results / "tokens/old-12345678")
    leftover = results / f"audio/mine/.00000-of-00003.tar.999999999@{HOST}.tmp"
    leftover.write_bytes(b"x" * 1000)
    mine = results / f"audio/mine/.alive.tar.{os.getpid()}@{HOST}.tmp"
    mine.write_bytes(b"x")
    elsewhere = results / "audio/mine/.00001-of-00003.tar.999999999@n7.tmp"
    elsewhere.write_bytes(b"x")  # of a job on another node: who knows
    training = results / "runs/base-00000003"
    training.mkdir(parents=True)
    (training / "LOCK").write_text(json.dumps({**describe_process(), "job_id": None}))
    for name in ("base-00000001", "base-00000002"):
        (results / "runs" / name).mkdir(parents=True)
    (results / "runs/base-00000002/checkpoints/step-00000001").mkdir(parents=True)
    (results / "audio/mine/00009-of-00010.tar").write_bytes(b"old")
    listed = tools.musicgen("gc")
    shown = {re.split(r"  +", line.strip())[2] for line in listed if " MB  " in line and " plan " not in line}
    assert shown == {
        "results/tokens/old-12345678",
        f"results/audio/mine/.00000-of-00003.tar.999999999@{HOST}.tmp",
        "results/audio/mine/00009-of-00010.tar",
        "results/runs/base-00000001",
        "results/runs/base-00000002",
        "results/runs/base-00000003",
    }
    assert leftover.exists(), "listing removes nothing"
    lines = tools.musicgen("gc", "--remove")
    assert "gc: 1 runs with checkpoints, 0.000 GB, stay; --remove --checkpoints removes them too" in lines
    assert (results / "runs/base-00000002").exists()
    assert mine.exists()
    assert elsewhere.exists()
    assert not leftover.exists()
    tools.musicgen("gc", "--remove", "--checkpoints")
    assert not (results / "runs/base-00000002").exists()
    (kept,) = [line for line in tools.musicgen("gc", "--remove", "--checkpoints") if "base-00000003" in line]
    assert f"kept: process {os.getpid()} on {HOST} trains it" in kept
    shutil.rmtree(training)
    elsewhere.unlink()
    assert not [line for line in tools.musicgen("gc") if " MB  " in line]
    assert tools.musicgen("verify")[-1].endswith("0 fault(s)")
    assert tools.run("tokens").jobs == []


OVERLAY = "runs: {other: {training: {steps: 5}}}\n"


def test_gc_spares_what_another_config_refers_to(tools: Tools) -> None:
    """It may hold what differs from config.yaml alone, as for `snakemake --configfile`."""
    (tools.folder / "other.yaml").write_text(OVERLAY)
    tools.dry_run("--configfile", "other.yaml")
    folder = json.loads((tools.folder / "results/plan/runs.json").read_text())["other"]["folder"]
    (tools.folder / "results/runs" / folder).mkdir(parents=True)
    (tools.folder / "results/runs" / folder / "config.json").write_text("{}")
    assert any(f"runs/{folder}" in line for line in tools.musicgen("gc"))
    assert not any(f"runs/{folder}" in line for line in tools.musicgen("gc", "--also", "other.yaml"))
    (tools.folder / "other.yaml").write_text(f"results: elsewhere\n{OVERLAY}")
    assert "the configs have 2 folders of results" in tools.musicgen("gc", "--also", "other.yaml", status=1)[-1]
    shutil.rmtree(tools.folder / "results/runs" / folder)


@pytest.mark.parametrize("command", ["why", "plan", "verify"])
def test_a_part_of_a_config_is_laid_over_config_yaml(tools: Tools, command: str) -> None:
    (tools.folder / "other.yaml").write_text(OVERLAY)
    said = "\n".join(tools.musicgen(command, "--config", "other.yaml"))
    assert "error" not in said
    if command != "verify":
        assert re.search(r"(train|run) other", said)


def test_gc_removes_nothing_while_snakemake_works(tools: Tools) -> None:
    locks = tools.folder / ".snakemake/locks"
    locks.mkdir(parents=True, exist_ok=True)
    (locks / "0.input.lock").write_text("x\n")
    assert (
        "nothing is removed: another snakemake works in this folder" in tools.musicgen("gc", "--remove", status=1)[-1]
    )
    (locks / "0.input.lock").unlink()
