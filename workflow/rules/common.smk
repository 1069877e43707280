# What all rules share: the checked config, the plan, and the names of files. Only Snakemake's main process scans the
# music; job processes read what it planned.
import contextlib
import io
import os
import sys
from pathlib import Path

from snakemake.cli import parse_args

from musicgen_core.config.condition import reads_audio
from musicgen_core.config.load import parse_config, to_json
from musicgen_core.config.prompt_files import find_recordings
from musicgen_core.flow.resolve import read_flow, resolve
from musicgen_core.stages import STAGES
from musicgen_core.util.log import say
from musicgen_core.util.one_line import one_line

# `musicgen` is found beside the Python that runs Snakemake, also where the environment is not activated.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def read_arguments():
    """What the snakemake command was called with; None when it was not called by its command."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return parse_args(sys.argv[1:])[1]
    except SystemExit:
        return None


try:
    if workflow.is_main_process:
        arguments = read_arguments()
        if arguments is not None and arguments.unlock:
            say(workers.unlock())
            raise SystemExit(0)
        if arguments is not None:
            require_slurm(arguments)
        FLOW = resolve(parse_config(config), frozenset(arguments.targets or ()) if arguments else frozenset())
    else:
        FLOW = read_flow(parse_config(config))
except (ValueError, OSError) as error:
    # one line for the user: a WorkflowError would add this file's own lines to it
    raise SystemExit(f"Error: {one_line(error)}") from None

PLAN = FLOW.plan
RUNS = FLOW.runs
TARGETS = FLOW.targets
RESULTS = FLOW.results
PLAN_DIR = FLOW.plan_dir
TOKENS_DIR = FLOW.tokens_dir
RUNS_DIR = FLOW.runs_dir
WHERE = f"{PLAN_DIR}/where.json"
CONFIGS = {key: to_json(value) for key, value in FLOW.configs().items()}


wildcard_constraints:
    corpus="[^/]+",
    bucket=r"\d{5}-of-\d{5}",
    run="[^/]+",


def manifest_folders(wildcards) -> list[str]:
    return [f"{RESULTS}/manifest/{corpus}" for corpus in RUNS[wildcards.run].corpora]


def manifests(*splits: str, ending: str = ".jsonl"):
    """Input function: manifests of a run's corpora, or the tables beside them."""
    return lambda wildcards: [f"{folder}/{split}{ending}" for folder in manifest_folders(wildcards) for split in splits]


def indexes(wildcards) -> list[str]:
    return [f"{TOKENS_DIR}/{corpus}/index.bin" for corpus in RUNS[wildcards.run].corpora]


def lists(name: str):
    """Input function: files that list the paths of all buckets of a run's corpora. A command takes them as @FILE."""
    return lambda wildcards: [f"{PLAN_DIR}/{corpus}/lists/{name}.txt" for corpus in RUNS[wildcards.run].corpora]


def buckets(folder: str, ending: str):
    """Input function: the files of all buckets of a corpus, or of a run's corpora."""

    def list_files(wildcards) -> list[str]:
        names = [wildcards.corpus] if "corpus" in wildcards.keys() else RUNS[wildcards.run].corpora
        return [f"{folder}/{name}/{bucket}{ending}" for name in names for bucket in PLAN.corpora[name].buckets]

    return list_files


def heard(list_files):
    """Input function: files that only runs need whose model is conditioned on recordings; none for any other run."""
    return lambda wildcards: list_files(wildcards) if reads_audio(RUNS[wildcards.run].model.conditions) else []


def audio_flag(wildcards, input) -> list[str]:
    """For the same runs: the flag that names the audio."""
    return ["--audio", *(f"@{path}" for path in input.lists)] if input.lists else []


def recordings(wildcards) -> list[str]:
    """Input function: the file with the digests of the audio files that a run's prompts name; none without any. Of one
    that is absent Snakemake would know only that it is missing, and where samples are there already it would say
    nothing at all."""
    try:
        found = find_recordings(RUNS[wildcards.run].generation)
    except (ValueError, OSError) as error:
        raise SystemExit(f"Error: runs.{RUNS[wildcards.run].name}: {one_line(error)}") from None
    return [f"{PLAN_DIR}/recordings/{wildcards.run}.json"] if found else []
