"""Resolve config.yaml and the music into everything the rules need to know. The Snakefile's one call."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from musicgen_core.config.codec_spec import check_fit, read_codec_spec
from musicgen_core.config.data import CodecSpec
from musicgen_core.config.load import from_json, resolve_runs, to_json
from musicgen_core.config.root import (
    ExportStageConfig,
    ReportStageConfig,
    RootConfig,
    RunConfig,
    project_evaluate,
    project_generate,
    project_index,
    project_manifest,
    project_resample,
    project_scan,
    project_tokenize,
    project_train,
)
from musicgen_core.data.plan import Plan, Where, read_plan
from musicgen_core.flow.ancestors import relate, with_ancestors
from musicgen_core.flow.facts import write_facts
from musicgen_core.flow.lineage import PlannedRun, as_trained, place_runs, say_policy
from musicgen_core.flow.lists import write_list, write_stage
from musicgen_core.flow.outside import NAME as outside_name
from musicgen_core.flow.outside import OutsideDigests, write_recordings
from musicgen_core.flow.padding import settle_padding
from musicgen_core.flow.workers import is_locked, name_holder
from musicgen_core.stages.scan import digest_config
from musicgen_core.stages.scan import run as scan
from musicgen_core.util.atomic import write_json_if_changed, write_text_if_changed
from musicgen_core.util.digest import digest_file
from musicgen_core.util.log import say

SOURCES_NAME, PADDING_NAME = "sources.json", "padding.json"
"""What is known of weights at paths, by their sizes and times."""


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What there is to do, and under which names. Paths are relative to the working directory."""

    root: RootConfig
    plan: Plan
    codec: CodecSpec

    runs: dict[str, RunConfig]
    """Folder name -> the run's config."""

    planned: dict[str, PlannedRun]
    """Folder name -> what is known of the run."""

    @property
    def targets(self) -> list[str]:
        """Folders of the runs that the config names, without those that these only come from."""
        return [folder for folder, planned in self.planned.items() if planned.key == planned.name]

    @property
    def results(self) -> str:
        return self.root.results

    @property
    def plan_dir(self) -> str:
        return f"{self.results}/plan"

    @property
    def codec_name(self) -> str:
        return f"{self.codec.name}-{self.codec.digest[:8]}"

    @property
    def tokens_dir(self) -> str:
        return f"{self.results}/tokens/{self.codec_name}"

    @property
    def runs_dir(self) -> str:
        return f"{self.results}/runs"

    def configs(self) -> dict[tuple[str, str], Any]:
        """(stage, name) -> the stage's config; the name is a corpus, a run's folder, or empty."""
        found: dict[tuple[str, str], Any] = {
            ("resample", ""): project_resample(self.root, self.codec),
            ("tokenize", ""): project_tokenize(self.root, self.codec),
            ("index", ""): project_index(self.codec),
            ("export", ""): ExportStageConfig(),
            ("report", ""): ReportStageConfig(),
        }
        found |= {("manifest", corpus): project_manifest(self.root, corpus) for corpus in self.plan.corpora}
        for folder, run in self.runs.items():
            config = project_train(run, self.codec)
            done = self.planned[folder].done
            found["train", folder] = as_trained(config, Path(self.runs_dir) / folder) if done else config
            found["generate", folder] = project_generate(self.root, run)
            found["evaluate", folder] = project_evaluate(run)
        return found


def resolve(root: RootConfig, targets: frozenset[str] | None = None) -> Flow:
    """Scan the corpora of a config, find each run's folder, and write what the rules need under results/plan.

    While another snakemake works in this folder its plan is taken, and nothing is written. Raises ValueError or OSError
    with one line for the user, also where a run's data changed, its policy is `refuse`, and `targets` ask for more than
    tokens. Without `targets` nobody asks for a training: the tools.
    """
    configs = resolve_runs(root)
    folder = Path(root.results) / "plan"
    plan, codec, frozen = _make_plan(root, configs, folder)
    outside = OutsideDigests(folder / outside_name)
    with _remember_weights(folder, frozen) as known:
        every = settle_padding(with_ancestors(configs), known / PADDING_NAME)
        kin = relate(configs, every, root, plan, codec, known / SOURCES_NAME, outside)
    planned = place_runs(every, kin, Path(root.results) / "runs", codec)
    flow = _assemble(root, every, plan, codec, planned)
    _speak(flow, targets)
    if not frozen:
        outside.save()
        _write(flow, folder)
        write_facts(folder, {one.folder: kin.facts[one.key] for one in planned.values()})
    return flow


@contextmanager
def _remember_weights(folder: Path, frozen: bool) -> Iterator[Path]:
    """Where it is remembered what weights are: a copy that is thrown away, while nothing may be written."""
    if not frozen:
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        for name in (SOURCES_NAME, PADDING_NAME):
            if (folder / name).exists():
                shutil.copy2(folder / name, scratch)
        yield Path(scratch)


def _make_plan(root: RootConfig, runs: dict[str, RunConfig], folder: Path) -> tuple[Plan, CodecSpec, bool]:
    """Scan the corpora, or, while another snakemake works here, read the plan that it made."""
    path, codec_path = folder / "plan.json", folder / "codec.json"
    frozen = path.exists() and codec_path.exists() and is_locked()
    codec, codec_folder = read_codec_spec(root.codec)
    if frozen:
        say("plan: taken as it lies, for another snakemake works here, or was killed; the music is not scanned again")
        plan, known = read_plan(path), codec_path.read_text(encoding="utf-8")
        if plan.config_digest != digest_config(project_scan(root)):
            raise ValueError(f"corpora or data in the config are not those of that plan, and {name_holder()}")
        if to_json(codec) + "\n" != known:
            raise ValueError(
                f"the codec is not that of that plan, {from_json(CodecSpec, known).name}, and {name_holder()}"
            )
        return plan, codec, True
    for run in runs.values():
        check_fit(run, codec)
    plan = scan(project_scan(root), results=Path(root.results))
    folders = {name: Path(corpus.path).absolute() for name, corpus in root.corpora.items()}
    write_text_if_changed(folder / "where.json", Where(codec=Path(codec_folder).absolute(), corpora=folders).to_text())
    write_text_if_changed(codec_path, to_json(codec) + "\n")
    return plan, codec, False


def read_flow(root: RootConfig) -> Flow:
    """Take what the last `resolve` wrote; for job processes, which never scan. Raises ValueError naming a bad file."""
    folder = Path(root.results) / "plan"
    configs = settle_padding(with_ancestors(resolve_runs(root)), folder / PADDING_NAME)
    plan = read_plan(folder / "plan.json")
    codec = from_json(CodecSpec, (folder / "codec.json").read_text(encoding="utf-8"))
    try:
        lines = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
        planned = {key: PlannedRun(**lines[key]) for key in configs if key in lines or "@" not in key}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder}/runs.json: knows no such runs ({error}); start snakemake again") from None
    return _assemble(root, configs, plan, codec, planned)


def _assemble(
    root: RootConfig, configs: dict[str, RunConfig], plan: Plan, codec: CodecSpec, planned: dict[str, PlannedRun]
) -> Flow:
    return Flow(
        root=root,
        plan=plan,
        codec=codec,
        runs={one.folder: configs[key] for key, one in planned.items()},
        planned={one.folder: one for one in planned.values()},
    )


def _speak(flow: Flow, targets: frozenset[str] | None) -> None:
    """Say, before anything runs, which folder a renamed run keeps, and what happens to a run whose data changed."""
    for folder, planned in flow.planned.items():
        if folder.rpartition("-")[0] != planned.name:
            say(f"plan: runs.{planned.name} is what was trained as {folder}, under another name: it keeps that folder")
        policy = flow.runs[folder].on_changed_data
        line = say_policy(planned, policy)
        if line is not None and policy == "refuse" and targets is not None and targets != {"tokens"}:
            raise ValueError(line)
        if line is not None:
            say(f"plan: {line}")


def _write(flow: Flow, folder: Path) -> None:
    write_text_if_changed(folder / "upkeep.json", to_json(flow.root.upkeep) + "\n")
    write_json_if_changed(folder / "runs.json", {one.key: asdict(one) for one in flow.planned.values()})
    for (stage, name), config in flow.configs().items():
        write_stage(folder / "stages", stage, config, name)
    write_recordings(folder, flow.runs)
    for corpus, planned in flow.plan.corpora.items():
        # what rules take as inputs: the files themselves may be large, and Snakemake then knows their times alone
        write_text_if_changed(folder / corpus / "words.digest", planned.metadata_digest + "\n")
        write_text_if_changed(
            folder / corpus / "rejected.digest", digest_file(folder / corpus / "rejected.jsonl") + "\n"
        )
        buckets, lists = list(planned.buckets), folder / corpus / "lists"
        audio = f"{flow.results}/audio/{corpus}"
        write_list(lists / "prepared.txt", audio, buckets, ".jsonl")
        write_list(lists / "audio.txt", audio, buckets, ".tar")
        write_list(lists / f"{flow.codec_name}.txt", f"{flow.tokens_dir}/{corpus}", buckets, ".tar")
