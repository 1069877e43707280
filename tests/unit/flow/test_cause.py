"""Why a job would run whose output has a digest or a signature in its path: what came into which place, old -> new."""

import json
from pathlib import Path
from typing import Any

import pytest
from small_music import make_codec, make_tone
from small_project import Project, make_project

from musicgen_core.config.load import parse_config
from musicgen_core.flow.cause import explain
from musicgen_core.flow.dry_run import Job
from musicgen_core.flow.resolve import Flow, resolve
from musicgen_core.util.receipt import write_receipt

RUN_OUTPUTS = {
    "export": ["export/config.json", "export/model.safetensors"],
    "generate": ["samples/samples.json"],
    "evaluate": ["metrics.json", "references/references.json"],
    "report": ["report.html"],
}
BELOW = ("train", *RUN_OUTPUTS)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = make_project(tmp_path / "project", make_codec(tmp_path / "codec"))
    monkeypatch.chdir(made.folder)
    made.config["runs"] = {"base": {}}
    return made


def flow_of(project: Project) -> Flow:
    return resolve(parse_config(project.config))


def write(path: str, stage: str, flow: Flow, name: str = "", owner: str | None = None) -> None:
    """An output and its receipt, as the stage would leave them."""
    stages = Path(flow.plan_dir) / "stages"
    facts = json.loads((stages / stage / f"{name}.json" if name else stages / f"{stage}.json").read_text())
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("{}")
    write_receipt(Path(owner or path), stage, facts["version"], facts["config"], {}, 1.0)


def job_of_run(stage: str, flow: Flow) -> Job:
    (folder,) = flow.targets
    rule = f"{stage}_run" if stage in ("train", "report") else stage
    outputs = [f"{flow.runs_dir}/{folder}/{name}" for name in RUN_OUTPUTS.get(stage, ["DONE"])]
    return Job(rule, {"run": folder}, outputs, f"Missing output files: {outputs[0]}")


def finish_run(project: Project) -> str:
    flow = flow_of(project)
    (folder,) = flow.targets
    train = json.loads(Path(f"{flow.plan_dir}/stages/train/{folder}.json").read_text())
    run_dir = f"{flow.runs_dir}/{folder}"
    Path(run_dir).mkdir(parents=True)
    Path(f"{run_dir}/config.json").write_text(json.dumps({**train["config"], "stage_version": train["version"]}))
    for stage, names in RUN_OUTPUTS.items():
        name = folder if stage in ("generate", "evaluate") else ""
        for output in names:
            inside = "/" in output
            owner = f"{run_dir}/{output.partition('/')[0]}" if inside else None
            write(f"{run_dir}/{output}", stage, flow, name, owner)
    return folder


def lines(project: Project) -> dict[str, str]:
    flow = flow_of(project)
    return {stage: explain(job_of_run(stage, flow), flow, {}).partition(": ")[2] for stage in BELOW}


def test_the_first_run_of_a_name_was_never_made(project: Project) -> None:
    assert all(line.endswith(" was never made") for line in lines(project).values())


def test_a_key(project: Project) -> None:
    old = finish_run(project)
    project.config["training"]["learning_rate"] = 0.5
    project.config["generation"] = {"top_k": 3}
    found = lines(project)
    for stage in BELOW:
        more = ", generation.top_k 250 -> 3" if stage == "generate" else ""
        assert found[stage] == f"unlike {old}: training.learning_rate 0.001 -> 0.5{more}"


def test_music_words_and_buckets(project: Project) -> None:
    old = finish_run(project)
    make_tone(project.music / "new.wav", 1000)
    assert set(lines(project).values()) == {
        f"unlike {old}: tracks in 1 of 3 buckets of mine, words, licences, splits or names of tracks of mine"
    }
    (project.music / "new.wav").unlink()
    (project.music / "piece 03.txt").write_text("other words")
    assert set(lines(project).values()) == {f"unlike {old}: words, licences, splits or names of tracks of mine"}
    (project.music / "piece 03.txt").write_text("a tone, number 3\n")
    project.config["corpora"]["mine"]["num_buckets"] = 2
    assert all("corpora.mine.num_buckets 3 -> 2" in line for line in lines(project).values())


@pytest.mark.parametrize(
    ("section", "value", "text"),
    [
        ("audio", {"loudness_lufs": -14.0}, "resample.audio.loudness_lufs null -> -14.0"),
        ("data", {"allow_uncaptioned": True}, "corpora.mine.allow_uncaptioned false -> true"),
        ("tokenize", {"chunk_sec": 20.0}, "tokenize.chunk_sec 30.0 -> 20.0"),
    ],
)
def test_a_key_of_how_music_is_prepared(project: Project, section: str, value: dict[str, Any], text: str) -> None:
    old = finish_run(project)
    project.config[section] = value
    assert set(lines(project).values()) == {f"unlike {old}: {text}"}


def test_a_frozen_model_in_place(project: Project) -> None:
    Path("t5").mkdir()
    for name in ("config.json", "model.safetensors"):
        Path("t5", name).write_text("{}")
    project.config["conditioner"] = {"kind": "t5", "path": "t5"}
    old = finish_run(project)
    Path("t5/model.safetensors").write_text("[]")
    assert all(line.startswith(f"unlike {old}: conditioner.path.digest ") for line in lines(project).values())


def test_a_codec_and_buckets(project: Project) -> None:
    flow = flow_of(project)
    bucket, old = next(iter(flow.plan.corpora["mine"].buckets)), flow.codec.digest
    write(f"{flow.results}/audio/mine/{bucket}.tar", "resample", flow)
    write(f"{flow.tokens_dir}/mine/{bucket}.tar", "tokenize", flow)
    write(f"{flow.tokens_dir}/mine/index.bin", "index", flow)
    make_codec(project.folder / "codec2", seed=1)
    project.config["codec"]["path"] = "codec2"
    flow = flow_of(project)
    tar = Job("tokenize", {"corpus": "mine", "bucket": bucket}, [f"{flow.tokens_dir}/mine/{bucket}.tar"], "")
    index = Job("index", {"corpus": "mine"}, [f"{flow.tokens_dir}/mine/index.bin"], "")
    changed = f'"{old}" -> "{flow.codec.digest}"'
    assert explain(tar, flow, {}) == f"tokenize mine {bucket}: codec.digest {changed}"
    assert explain(index, flow, {}) == f"index mine: codec_digest {changed}"
    project.config["codec"]["path"] = "codec"
    project.config["corpora"]["mine"]["num_buckets"] = 2
    flow = flow_of(project)
    for stage, folder in (("resample", f"{flow.results}/audio"), ("tokenize", flow.tokens_dir)):
        name = next(iter(flow.plan.corpora["mine"].buckets))
        job = Job(stage, {"corpus": "mine", "bucket": name}, [f"{folder}/mine/{name}.tar"], "")
        assert explain(job, flow, {}) == f"{stage} mine {name}: corpora.mine.num_buckets 3 -> 2"


def test_rejected_files_have_a_digest_of_their_own(project: Project) -> None:
    """A report depends on these, and not on every file that lies there."""
    flow = flow_of(project)
    path = Path(flow.plan_dir, "mine/rejected.digest")
    before = path.read_text()
    (project.music / "session.als").write_text("no music")
    flow_of(project)
    assert path.read_text() == before
    (project.music / "broken.wav").write_bytes(b"RIFF")
    flow_of(project)
    assert path.read_text() != before
    (line,) = Path(flow.plan_dir, "mine/rejected.jsonl").read_text().splitlines()
    assert (json.loads(line)["path"], json.loads(line)["status"]) == ("broken.wav", "rejected")
