import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yte
from fake_slurm import play

from musicgen_core.config.training import TrainingConfig
from musicgen_core.flow.slurm_jobs import check_jobs, check_memory_of_jobs, check_orphans, explain_failed_jobs

__all__ = ["play"]

SINFO = "printf 'cpu*|2:00:00|2|4|8000|(null)\\ngpu|infinite|1|4|8000|gpu:2\\n'"


class Resources(dict):
    __getattr__ = dict.__getitem__


@dataclass
class Job:
    """As Snakemake shows it."""

    name: str
    resources: dict[str, Any]
    threads: int = 1
    group: bool = False
    is_local: bool = False
    rule: Any = field(init=False)
    groupid: str = field(init=False)
    wildcards: Any = field(default_factory=lambda: SimpleNamespace(run="base-1"))

    def __post_init__(self) -> None:
        self.rule, self.groupid, self.resources = SimpleNamespace(name=self.name), self.name, Resources(self.resources)

    def is_group(self) -> bool:
        return self.group


TRAIN = {
    "nodes": 2,
    "processes_per_node": 2,
    "cpus_per_process": 2,
    "gpus_per_node": 0,
    "memory_mb": 8000,
    "runtime_min": 120,
    "partition": "",
}
RUNS: Any = {"base-1": SimpleNamespace(training=TrainingConfig(batch_size=8))}


def test_jobs_that_fit(play) -> None:
    play("sinfo", SINFO)
    jobs = [
        Job("resample", {"mem_mb": 8000, "runtime": 120}, group=True),
        Job("tokenize", {"gpu": 2, "slurm_partition": "gpu", "runtime": 9999}, group=True),
        Job("report_run", {"mem_mb": 999_999}, is_local=True),
        Job("train_run", TRAIN, is_local=True),
    ]
    check_jobs(jobs, RUNS)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (
            Job("resample", {"runtime": 960}, group=True),
            "resample: partition cpu allows 120 min, but 960 min were asked for; lower MUSICGEN_BUCKET_RUNTIME_MIN or "
            "MUSICGEN_BUCKETS_PER_JOB or take another partition (MUSICGEN_PARTITION)",
        ),
        (
            Job("tokenize", {"gpu": 1}, group=True),
            "tokenize: partition cpu has nodes with 0 GPUs, but 1 on a node were asked for; lower "
            "MUSICGEN_STAGE_GPUS or take another partition (MUSICGEN_GPU_PARTITION)",
        ),
        (
            Job("generate", {}, threads=8),
            "generate: partition cpu has nodes with 4 CPUs, but 8 on a node were asked for; lower MUSICGEN_CPUS or "
            "take another partition (MUSICGEN_PARTITION)",
        ),
        (
            Job("train_run", {**TRAIN, "nodes": 3}, is_local=True),
            "training.batch_size 8 is not a multiple of 6 = 6 processes (nodes x processes per node) x micro-batches "
            "of 1; change training.batch_size, training.micro_batch_size or the processes",
        ),
        (
            Job("train_run", {**TRAIN, "nodes": 4}, is_local=True),
            "training base-1: partition cpu has 2 nodes, but 4 were asked for; lower MUSICGEN_NODES",
        ),
    ],
)
def test_jobs_that_can_never_start(play, job: Job, message: str) -> None:
    play("sinfo", SINFO)
    with pytest.raises(ValueError) as error:
        check_jobs([job], RUNS)
    assert str(error.value) == message


def test_an_account_that_nobody_can_check_is_refused(play) -> None:
    """Snakemake's plugin would wait for ever."""
    play("sinfo", SINFO)
    play("sacctmgr", "exit 1")
    play("sshare", "exit 1")
    job = Job("resample", {"slurm_account": "music"}, group=True)
    with pytest.raises(ValueError, match=r"^resample: neither sacctmgr nor sshare can say .* account music; unset MUS"):
        check_jobs([job], RUNS)
    check_jobs([Job("train_run", {**TRAIN, "account": "music"}, is_local=True)], RUNS)
    check_jobs([Job("resample", {}, group=True)], RUNS)
    play("sshare", "true")  # as without accounting
    check_jobs([job], RUNS)
    play("sshare", "exit 1")
    play("sacctmgr", "echo music")
    check_jobs([job], RUNS)


def test_orphans_of_this_folder_are_named(play, capsys: pytest.CaptureFixture[str]) -> None:
    here = os.getcwd()
    trains = f"11\\ttrain-a\\tmusicgen train base-1\\tRUNNING\\t{here}\\n"
    trains += f"12\\ttrain-b\\tmusicgen train old-2\\tPENDING\\t{here}"
    play("squeue", f"printf '{trains}\\n13\\tmusicgen_x\\trule_index\\tRUNNING\\t/elsewhere\\n'")
    check_orphans(["base-1"])
    said = capsys.readouterr().err
    assert "SLURM job 11 still has base-1 (RUNNING); it is followed when its turn comes" in said
    assert "SLURM job 12 has old-2, which is no run of this config: scancel 12" in said
    data = "".join(f"{n}\\tmusicgen_x\\trule_resample_resample\\tRUNNING\\t{here}\\n" for n in range(20, 30))
    play("squeue", f"printf '{data}'")
    with pytest.raises(
        ValueError, match=r"still work here: 20 \(resample, RUNNING\), .* and 2 more; wait until"
    ) as error:
        check_orphans([])
    assert "scancel 20 21 22 23 24 25 26 27 28 29; then the same command" in str(error.value)
    play("squeue", "exit 1")
    check_orphans([])


@pytest.mark.parametrize(
    ("state", "words", "log", "line"),
    [
        ("CANCELLED", "", "", "SLURM job 7 (tokenize) was cancelled (scancel); run the same command to go on"),
        (
            "TIMEOUT",
            "",
            "",
            "SLURM job 7 (tokenize) ran into its time limit, 01:00:00; raise MUSICGEN_BUCKET_RUNTIME_MIN",
        ),
        (
            "OUT_OF_MEMORY",
            "",
            "",
            "SLURM job 7 (tokenize) was killed for memory: it needs more than 4000M; raise MUSICGEN_BUCKET_MEMORY_MB",
        ),
        (
            "FAILED",
            "",
            "slurmstepd: error: StepId=7.0 exceeded memory limit (5 > 4), being killed",
            "SLURM job 7 (tokenize) was killed for memory: it needs more than 4000M (StepId=7.0 exceeded memory limit "
            "(5 > 4), being killed); raise MUSICGEN_BUCKET_MEMORY_MB",
        ),
        (
            "NODE_FAIL",
            "NodeDown",
            "",
            "SLURM job 7 (tokenize) ended in state NODE_FAIL (NodeDown); run the same command to go on",
        ),
        ("FAILED", "", "ValueError: the job says it itself", None),
        ("COMPLETED", "", "", None),
        ("RUNNING", "", "", None),
    ],
)
def test_ends_that_a_job_could_not_explain_itself(
    play, tmp_path: Path, state: str, words: str, log: str, line: str | None
) -> None:
    (tmp_path / "log").write_text(log + "\n")
    play("squeue", f"[ $5 = musicgen_x ] && echo '7|{state}'")
    play(
        "scontrol",
        f"echo 'JobId=7 Reason={words} TimeLimit=01:00:00 TRES=cpu=1,mem=4000M,node=1 "
        f"Comment=rule_tokenize_tokenize StdOut={tmp_path}/log'",
    )
    assert explain_failed_jobs("SLURM run ID: musicgen_x\nError in group tokenize\n") == ([line] if line else [])
    assert explain_failed_jobs("a local run") == []


@pytest.mark.parametrize("stage", ["resample", "tokenize", "index", "export", "generate", "evaluate"])
@pytest.mark.parametrize(("state", "kind"), [("OUT_OF_MEMORY", "MEMORY_MB"), ("TIMEOUT", "RUNTIME_MIN")])
def test_the_variable_that_is_named_is_the_one_that_helps(
    play, monkeypatch: pytest.MonkeyPatch, stage: str, state: str, kind: str
) -> None:
    """With it set, the profile asks SLURM for that much for jobs of the stage."""
    play("squeue", f"echo '7|{state}'")
    play("scontrol", f"echo 'JobId=7 TimeLimit=01:00:00 TRES=mem=1M Comment=rule_{stage}_wildcards_demo'")
    (line,) = explain_failed_jobs("SLURM run ID: musicgen_x\n")
    (variable,) = re.findall(rf"; raise (MUSICGEN_\w+_{kind})$", line)
    monkeypatch.setenv(variable, "777")
    profile = yte.process_yaml((Path(__file__).parents[3] / "profiles/slurm/profile.yaml").read_text())
    assert 777 in profile["set-resources"][stage].values(), variable
    assert (profile["set-resources"][stage].get("mem_mb") == 777) == (kind == "MEMORY_MB")


def test_a_training_is_checked_with_the_time_that_is_asked_for(play) -> None:
    """Shorter ones are raised to 15 minutes, for which a partition of 10 would let them wait for ever."""
    play("sinfo", "printf 'short*|10:00|2|4|8000|(null)\\n'")
    with pytest.raises(
        ValueError, match=r"short allows 10 min, but such a job needs at least 15 min; take another part"
    ):
        check_jobs([Job("train_run", {**TRAIN, "runtime_min": 5}, is_local=True)], RUNS)
    check_jobs([Job("resample", {"runtime": 10}, group=True)], RUNS)


def test_a_cluster_that_forgets_soon_is_said(play, capsys: pytest.CaptureFixture[str]) -> None:
    play("scontrol", "echo 'MinJobAge               = 30 sec'")
    check_memory_of_jobs(10)
    assert capsys.readouterr().err == ""
    check_memory_of_jobs(20)
    assert (
        "forgets ended jobs after 30 s (MinJobAge): set MUSICGEN_SLURM_POLL_SEC to 10 or less"
        in capsys.readouterr().err
    )
