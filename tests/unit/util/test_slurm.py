from pathlib import Path

import pytest
from fake_slurm import play

from musicgen_core.util.slurm import JobState, QueuedJob, describe_job, find_memory_kill, find_state, list_own_jobs

__all__ = ["play"]


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo 'RUNNING|None|n[1-2]'", JobState("RUNNING", "", "n[1-2]")),
        ("echo 'PENDING|Resources|'", JobState("PENDING", "Resources", "")),
        ("printf 'NODE_FAIL|x|\\nPENDING|BeginTime|\\n'", JobState("PENDING", "BeginTime", "")),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", JobState("")),
        ("true", JobState("")),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", None),
    ],
)
def test_the_state_of_a_job(play, script: str, found: JobState | None) -> None:
    play("squeue", script)
    assert find_state("7") == found


def test_living_and_waiting_states() -> None:
    lives = {state for state in ("PENDING", "RUNNING", "COMPLETING", "NODE_FAIL", "PREEMPTED") if JobState(state).lives}
    assert lives == {"PENDING", "RUNNING", "COMPLETING", "NODE_FAIL", "PREEMPTED"}
    for state in ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", ""):
        assert not JobState(state).lives
    assert JobState("PENDING").waits
    assert not JobState("RUNNING").waits


def test_own_jobs_and_descriptions(play) -> None:
    play("squeue", "printf '7\\tmusicgen_x\\trule_index\\tRUNNING\\t/home/me\\nbroken line\\n'")
    assert list_own_jobs() == [QueuedJob("7", "musicgen_x", "rule_index", "RUNNING", "/home/me")]
    play("scontrol", "echo 'JobId=7 JobState=TIMEOUT TimeLimit=01:00:00 Comment='")
    assert describe_job("7") == {"JobId": "7", "JobState": "TIMEOUT", "TimeLimit": "01:00:00", "Comment": ""}
    play("squeue", "exit 1")
    play("scontrol", "exit 1")
    assert list_own_jobs() == []
    assert describe_job("7") == {}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.0.",
            "Detected 1 oom-kill event(s) in StepId=7.0.",
        ),
        (
            "slurmstepd: error: StepId=7.0 exceeded memory limit (3 > 2), being killed",
            "StepId=7.0 exceeded memory limit",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory", ""),
        ("slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED ***", ""),
    ],
)
def test_a_kill_for_memory_is_told_from_other_ends(line: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"train: step 1\n{line}\n")
    words = find_memory_kill([tmp_path / "log"])
    assert words.startswith(found) if found else words == ""
