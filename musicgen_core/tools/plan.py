"""`musicgen plan`: what `snakemake` would do and cost, before anything runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from musicgen_core.config.overlay import load_overlay
from musicgen_core.flow.dry_run import Job, dry_run
from musicgen_core.flow.forecast import (
    count_flops,
    estimate_bytes,
    measure_rate,
    measure_training,
)
from musicgen_core.flow.memory import estimate_memory
from musicgen_core.flow.resolve import Flow, read_flow
from musicgen_core.util.atomic import read_jsonl

GPU_FLOPS = 125e12
"""A yardstick where nothing was measured: 40 % of an A100's 312 TFLOP/s in bf16 (its data sheet)."""


def run(*targets: str, config: Path = Path("config.yaml"), processes: int = 1, nodes: int = 1) -> None:
    """Print how many jobs of each stage `snakemake TARGET...` would run, over how many hours of audio, how many bytes
    they would write and how long they would take; and for each run to train its parameters, steps, time and the GPU
    memory of each of `processes` processes on `nodes` nodes. Nothing runs. Times come from earlier jobs of the same
    kind; where there are none it says so. Raises ValueError for processes that do not spread evenly over the nodes.
    """
    if nodes < 1 or processes % nodes:
        raise ValueError(f"--processes {processes} do not spread evenly over --nodes {nodes}; change one of them")
    jobs = dry_run(config, list(targets))
    flow = read_flow(load_overlay(config))
    seconds_of = _read_lengths(flow)
    print(f"{'stage':<10} {'jobs':>6} {'hours of audio':>15} {'GB to write':>12}  time on one core")
    for stage, count in Counter(job.stage for job in jobs).items():
        print(_stage_line(stage, count, [job for job in jobs if job.stage == stage], flow, seconds_of))
    print(f"{len(jobs)} jobs" if jobs else "nothing would run: everything is up to date")
    for job in jobs:
        if job.stage == "train":
            for line in _run_lines(job.wildcards["run"], flow, processes, nodes):
                print(line)


def _stage_line(stage: str, count: int, jobs: list[Job], flow: Flow, seconds_of: dict[tuple[str, str], float]) -> str:
    seconds = sum(
        seconds_of.get((job.wildcards["corpus"], job.wildcards["bucket"]), 0.0)
        for job in jobs
        if "bucket" in job.wildcards
    )
    if not seconds:
        return f"{stage:<10} {count:>6}"
    num_bytes = estimate_bytes(stage, seconds, flow.codec)
    folder = {"resample": f"{flow.results}/audio", "tokenize": flow.tokens_dir}[stage]
    made = {Path(folder) / corpus / f"{bucket}.tar": length for (corpus, bucket), length in seconds_of.items()}
    rate = measure_rate(stage, made, made)
    took = (
        _clock(seconds / rate) + f" (earlier jobs: {rate:.0f} times real time)"
        if rate
        else "not known yet: no job of this stage has run here"
    )
    return f"{stage:<10} {count:>6} {seconds / 3600:>15.2f} {num_bytes / 1e9:>12.3f}  {took}"


def _run_lines(folder: str, flow: Flow, processes: int, nodes: int) -> list[str]:
    run, planned = flow.runs[folder], flow.planned[folder]
    memory, t = estimate_memory(run, flow.codec, processes, processes_per_node=processes // nodes), run.training
    start = f"continues {planned.continues}" if planned.continues else "resumes" if planned.begun else "starts"
    if planned.parents and not planned.begun:
        start = f"extends {planned.extends}" if planned.extends else f"starts from the weights of {planned.starts}"
    measured = measure_training(Path(flow.runs_dir), run)
    if measured:
        time = f"about {_clock(measured[0] * t.steps)} ({measured[0]:.3g} s a step in {measured[1]})"
    else:
        flops = count_flops(run, flow.codec)
        took = _clock(flops / GPU_FLOPS)
        time = f"{flops:.2g} floating-point operations: {took} at 125 TFLOP/s (40 % of an A100's in bf16)"
    return [
        f"run {planned.name} ({folder}) {start}: {memory.num_parameters / 1e6:.1f} M parameters"
        + (f" ({memory.num_trained / 1e6:.1f} M of them trained)" if t.freeze else "")
        + f", {t.steps} steps of "
        f"{t.batch_size} x {t.segment_sec:g} s, {t.precision}",
        f"  time: {time}",
        f"  memory of each of {processes} process(es), estimated: {memory.total / 2**30:.2f} GiB: state "
        f"{memory.state / 2**30:.2f}, copies {memory.copies / 2**30:.2f}, "
        f"activations {memory.activations / 2**30:.2f}, logits {memory.logits / 2**30:.2f}"
        + ("" if memory.total < 70 * 2**30 else "; lower training.micro_batch_size or set activation_checkpointing"),
    ]


def _read_lengths(flow: Flow) -> dict[tuple[str, str], float]:
    """(corpus, bucket) -> seconds of audio, by the files' headers."""
    seconds: dict[tuple[str, str], float] = {}
    for corpus in flow.plan.corpora:
        for line in read_jsonl(Path(flow.plan_dir) / corpus / "inventory.jsonl"):
            if line["status"] == "used":
                place = (corpus, line["bucket"])
                seconds[place] = seconds.get(place, 0.0) + (line["duration_sec"] or 0.0)
    return seconds


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
