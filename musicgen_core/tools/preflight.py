"""`musicgen preflight`: check a run in minutes, before a training of days."""

from __future__ import annotations

import os
from pathlib import Path

from musicgen_core.config.root import RootConfig
from musicgen_core.util.log import say


def run(config: RootConfig, *, run: str | None = None, threads: int | None = None) -> int:
    """Check the run `--run` (default: the first of config.yaml) after `snakemake --profile local tokens`.

    Prints one line per check (ok, warning or problem, with figures and what to do), then which setting fits which GPU;
    the exit status is 1 when there is a problem. Writes results/preflight/RUN/report.html, preflight.json and audio/.
    docs/preflight.md says what each check means. Uses a GPU if there is one, else `--threads` threads (default: all).
    """
    import torch

    from musicgen_core.preflight.material import open_material
    from musicgen_core.preflight.memory_plan import to_table
    from musicgen_core.preflight.report import run_checks, write_report
    from musicgen_core.preflight.trial import use_threads

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with use_threads(threads or len(os.sched_getaffinity(0))):
        material = open_material(config, run, device.type)
        say(
            f"preflight: run {material.run.name} ({material.planned.folder}), {material.num_tracks} training tracks, "
            f"{len(material.train)} of them looked at, on the {device.type}"
        )
        report = run_checks(material, device, lambda finding: print(finding.to_line(), flush=True))
    folder = Path(config.results) / "preflight" / material.run.name
    write_report(folder, report, material)
    print("training.micro_batch_size that fits (ckpt: with activation_checkpointing), and GiB on each GPU:")
    print("\n".join(to_table(report.plan)))
    print(f"{folder}/report.html: {report.count('problem')} problem(s), {report.count('warning')} warning(s)")
    return 1 if report.count("problem") else 0
