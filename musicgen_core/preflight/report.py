"""All checks of a run in order, and what they leave to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from musicgen_core.lm.model import build_model
from musicgen_core.preflight.agreement import check_agreement
from musicgen_core.preflight.codes import check_codes
from musicgen_core.preflight.finding import Finding
from musicgen_core.preflight.first_loss import check_first_loss
from musicgen_core.preflight.material import Material
from musicgen_core.preflight.memory_plan import PlanRow, check_memory, plan_rows
from musicgen_core.preflight.overfit import check_learning_rate, check_overfit
from musicgen_core.preflight.page import render_page
from musicgen_core.preflight.rate import check_files, check_lengths
from musicgen_core.preflight.sound import check_level, check_silence
from musicgen_core.preflight.trial import open_trial
from musicgen_core.preflight.trip import Excerpt, check_round_trip, make_excerpts, write_audio
from musicgen_core.preflight.tuning import check_tuning
from musicgen_core.preflight.words import SeenRow, check_captions
from musicgen_core.util.atomic import atomic_folder, write_json, write_text

NUM_EXCERPTS = 6


@dataclass(frozen=True)
class Report:
    """What was found, heard, read and planned."""

    findings: list[Finding]
    excerpts: list[Excerpt]
    rows: list[SeenRow]
    plan: list[PlanRow]

    def count(self, level: str) -> int:
        return sum(one.level == level for one in self.findings)


def run_checks(material: Material, device: torch.device, tell: Callable[[Finding], None]) -> Report:
    """Data first, then words, then the model; `tell` hears of each finding at once."""
    findings: list[Finding] = []

    def add(finding: Finding) -> None:
        findings.append(finding)
        tell(finding)

    records = material.train[:NUM_EXCERPTS]
    originals = material.read_prepared(records)
    excerpts = make_excerpts(material, records, originals)
    add(check_lengths(material))
    add(check_files(material))
    add(check_tuning(records, originals, material.spec.sample_rate_hz))
    add(check_codes(material, records, originals, material.root.tokenize))
    add(check_round_trip(material, excerpts))
    add(check_level(records, originals))
    add(check_silence(material))
    model = build_model(material.run.model, material.run.conditioner, material.spec, "meta")
    captions, rows = check_captions(material, model)
    add(captions)
    add(check_agreement(material))
    trial = open_trial(material, device)
    add(check_first_loss(material, trial, device))
    add(check_overfit(trial))
    add(check_learning_rate(trial))
    length = max(1, min(captions.figures["longest"], model.conditioner.max_length))
    plan = plan_rows(material, length)
    add(check_memory(material, trial, plan, length))
    return Report(findings, excerpts, rows, plan)


def write_report(folder: Path, report: Report, material: Material) -> None:
    """Write report.html, preflight.json and audio/ as one folder; an older one of that name is replaced."""
    run, spec = material.run, material.spec
    page = render_page(
        run.name,
        material.planned.folder,
        report.findings,
        report.excerpts,
        report.rows,
        report.plan,
        spec.sample_rate_hz,
    )
    with atomic_folder(folder) as temporary:
        write_audio(temporary / "audio", report.excerpts, spec.sample_rate_hz)
        write_text(temporary / "report.html", page)
        write_json(temporary / "preflight.json", _to_json(report, material))


def _to_json(report: Report, material: Material) -> dict[str, Any]:
    return {
        "run": material.run.name,
        "folder": material.planned.folder,
        "seed": material.run.seed,
        "codec": material.spec.digest,
        "tracks": material.num_tracks,
        "findings": [one.to_json() for one in report.findings],
        "captions": [vars(row) for row in report.rows],
        "audio": [
            {"number": number, "track": excerpt.record.track, "path": excerpt.record.path}
            for number, excerpt in enumerate(report.excerpts)
        ],
    }
