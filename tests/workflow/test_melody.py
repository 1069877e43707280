"""A run that is conditioned on melodies beside one that is not, through the whole workflow."""

import json
import re

import pytest
import soundfile
from small_music import make_tone
from small_project import Project

pytestmark = pytest.mark.slow

CHROMA = {"kind": "chroma", "sample_rate_hz": 8000, "radix2_exp": 10, "dropout": 0.2}
STYLE = {"kind": "style", "min_sec": 0.2, "eval_sec": 0.3, "max_sec": 0.5, "dim": 16, "num_heads": 2, "num_layers": 1}


def inputs_of(project: Project, run: str) -> list[str]:
    """What the training of a run would read."""
    text = project.dry_run("train").text
    blocks = re.findall(r"^(?:local)?rule train_run:\n((?:    .*\n)+)", text, re.MULTILINE)
    found = [re.search(r"input: (.*)", block) for block in blocks if f"run={run}-" in block]
    assert len(found) == 1, text
    assert found[0] is not None
    return found[0][1].split(", ")


def test_a_melody_run_gets_the_audio_and_no_other_run_does(project: Project) -> None:
    project.config["runs"] = {"base": {}, "tune": {"model": {"conditions": {"self_wav": CHROMA}}}}
    heard, plain = inputs_of(project, "tune"), inputs_of(project, "base")
    assert "results/audio/mine/00000-of-00003.tar" in heard
    assert not [path for path in plain if "audio" in path]
    del project.config["runs"]["tune"]
    assert inputs_of(project, "base") == plain, "nor does the other run change it"


def test_a_melody_run_up_to_its_samples(project: Project) -> None:
    project.config["corpora"]["mine"]["num_buckets"] = 1
    project.config["training"] |= {"steps": 2, "validate_every_steps": 2, "device": "cpu"}
    project.config["runs"] = {"tune": {"model": {"conditions": {"self_wav": CHROMA, "style": STYLE}}}}
    make_tone(project.folder / "hum.wav", 330.0, duration_sec=0.8)
    prompts = ["plain words", {"text": "a tone", "melody": "hum.wav"}, {"melody": "hum.wav", "melody_start_sec": 0.3}]
    prompts.append({"text": "a tone", "style": "hum.wav"})
    project.config["generation"] = {"prompts": prompts, "duration_sec": 0.5, "top_k": 5, "device": "cpu"}
    project.config["data"] = {"num_prompts": 1}
    planned = project.dry_run("train").text
    folder = re.findall(r"results/runs/(tune-[0-9a-f]+)/DONE", planned)[0]
    samples_json = f"results/runs/{folder}/samples/samples.json"
    done = project.run(samples_json)
    assert {"train_run": 1, "export": 1, "generate": 1}.items() <= done.counts.items()
    run_dir = project.folder / "results/runs" / folder
    exported = json.loads((run_dir / "export/config.json").read_text())
    assert exported["model"]["conditions"]["self_wav"]["num_frames"] == 1 + 8000 // 256, "of a 1 s segment"
    samples = json.loads((run_dir / "samples/samples.json").read_text())
    assert [sample.get("melody") for sample in samples[:4]] == [None, "hum.wav", "hum.wav", None]
    assert samples[3]["style"] == "hum.wav"
    clips = [soundfile.read(run_dir / "samples" / sample["file"])[0] for sample in samples[:3]]
    assert not (clips[1] == clips[2]).all()
    make_tone(project.folder / "hum.wav", 220.0, duration_sec=0.8)
    assert project.dry_run(samples_json).counts == {"generate": 1}


def test_a_melody_that_is_not_there_is_named(project: Project) -> None:
    """By us, while Snakemake reads the workflow: who asks for it, and the remedy. Training does not need it."""
    project.config["generation"] = {"prompts": ["a tone", {"text": "a tone", "style": "none.wav"}]}
    outcome = project.snakemake("--profile", "local", "--dry-run")
    assert outcome.returncode != 0
    assert re.search(
        r"^Error: runs\.base: generation\.prompts\.1 \('a tone'\): its style none\.wav is not there \(looked in /.*\); "
        r"correct the path, bring the file, or take it out of the config$",
        outcome.text,
        re.MULTILINE,
    ), outcome.text
    assert "Missing input files" not in outcome.text
    assert "Traceback" not in outcome.text
    assert "train_run" in project.dry_run("train").counts
