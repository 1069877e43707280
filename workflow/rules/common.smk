# What all rules share: the checked config, the plan, and the names of files. Only Snakemake's main process scans the
# music; job processes read what it planned.
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from snakemake.cli import parse_args

from musicgen_core.config.codec_spec import check_fit, read_codec_spec
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.load import from_json, parse_config, resolve_runs, to_json
from musicgen_core.config.root import (
    ExportStageConfig,
    project_evaluate,
    project_generate,
    project_index,
    project_manifest,
    project_plan,
    project_report,
    project_resample,
    project_tokenize,
    project_train,
)
from musicgen_core.data.plan import Plan, Where, read_plan
from musicgen_core.stages import STAGES
from musicgen_core.stages.plan import digest_config, run as scan
from musicgen_core.util.atomic import write_text_if_changed
from musicgen_core.util.digest import digest_json
from musicgen_core.util.log import say

# `musicgen` is found beside the Python that runs Snakemake, also where the environment is not activated.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def require_slurm() -> None:
    """Refuse to start jobs on a cluster that is not there."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            _, args = parse_args(sys.argv[1:])
    except SystemExit:  # not started by the snakemake command
        return
    if args.executor != "slurm" or args.dryrun:
        return
    remedy = "run this where sbatch works, or use --profile local"
    if shutil.which("sbatch") is None:
        raise ValueError(f"no SLURM here: there is no command sbatch; {remedy}")
    asked = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True)
    if asked.returncode != 0:
        said = asked.stderr.strip().splitlines()[-1:]
        raise ValueError(f"no SLURM here: {said[0] if said else 'sinfo fails'}; {remedy}")


def say_what_failed(snakemake_logs: list[str]) -> None:
    """After a failure, repeat each failed job's own last line: Snakemake's account of it is long."""
    text = "\n".join(Path(path).read_text(encoding="utf-8", errors="replace") for path in snakemake_logs)
    for name in dict.fromkeys(re.findall(r"^ +log: (.+) \(check log file", text, re.MULTILINE)):
        path = Path(name)
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []
        lines = [line for line in lines if line.strip()]
        say(f"failed: {lines[-1] if lines else 'no output'}  ({name})")


def make_plan(root, results: Path) -> tuple[Plan, CodecSpec]:
    """Scan the corpora; while another snakemake works in this folder, take the plan that it made."""
    path, codec_path = results / "plan/plan.json", results / "plan/codec.json"
    main = workflow.is_main_process
    frozen = main and path.exists() and codec_path.exists() and any(Path(".snakemake/locks").glob("*"))
    if main and not frozen:
        codec, codec_folder = read_codec_spec(root.codec)
        for run in resolve_runs(root).values():
            check_fit(run, codec)
        plan = scan(project_plan(root), results=results)
        folders = {name: Path(corpus.path).absolute() for name, corpus in root.corpora.items()}
        where = Where(codec=Path(codec_folder).absolute(), corpora=folders)
        write_text_if_changed(results / "plan/where.json", where.to_text())
        write_text_if_changed(codec_path, to_json(codec) + "\n")
        return plan, codec
    plan, codec = read_plan(path), from_json(CodecSpec, codec_path.read_text())
    if frozen:
        say("plan: another snakemake works here (or was killed: `snakemake --unlock`); the music is not scanned again")
        if plan.config_digest != digest_config(project_plan(root)):
            raise ValueError("corpora or data in the config changed while another snakemake works here; wait for it")
    return plan, codec


def sign(run, plan: Plan) -> str:
    """Digest of all that a run's model depends on: its music, the stages and their configs, its own config."""
    return digest_json(
        {
            "versions": {n: STAGES[n].version for n in ("resample", "manifest", "tokenize", "index", "train")},
            "data": {c: [plan.corpora[c].buckets, plan.corpora[c].metadata_digest] for c in run.corpora},
            "resample": asdict(project_resample(ROOT, CODEC)),
            "manifest": {c: asdict(project_manifest(ROOT, c)) for c in run.corpora},
            "tokenize": asdict(project_tokenize(ROOT, CODEC)),
            "train": asdict(project_train(run, CODEC)),
        }
    )


try:
    if workflow.is_main_process:
        require_slurm()
    ROOT = parse_config(config)
    PLAN, CODEC = make_plan(ROOT, Path(ROOT.results))
    SIGNATURES = {name: sign(run, PLAN) for name, run in resolve_runs(ROOT).items()}
except (ValueError, OSError) as error:
    # one line for the user: a WorkflowError would add this file's own lines to it
    named = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else error
    raise SystemExit(f"Error: {named}") from None

RESULTS = ROOT.results
WHERE = f"{RESULTS}/plan/where.json"
TOKENS_DIR = f"{RESULTS}/tokens/{CODEC.name}-{CODEC.digest[:8]}"
RUNS_DIR = f"{RESULTS}/runs"
RUNS = {f"{name}-{SIGNATURES[name][:8]}": run for name, run in resolve_runs(ROOT).items()}


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


def buckets(folder: str, ending: str):
    """Input function: the files of all buckets of a corpus, or of a run's corpora."""

    def list_files(wildcards) -> list[str]:
        names = [wildcards.corpus] if "corpus" in wildcards.keys() else RUNS[wildcards.run].corpora
        return [f"{folder}/{name}/{bucket}{ending}" for name in names for bucket in PLAN.corpora[name].buckets]

    return list_files
